using System.Net;
using System.Net.Sockets;

namespace Pakhouse.SystemTests;

/// <summary>The first thing that anybody does with Pakhouse.</summary>
public sealed class RunDemo
{
    [Fact]
    public async Task The_whole_story_is_shown_and_the_printed_commands_work_as_they_stand_until_ctrl_c_removes_everything()
    {
        var temporary = Directory.CreateTempSubdirectory("pakhouse-system-");
        try
        {
            await using var demo = RunningServer.Launch(
                ["demo"],
                null,
                [],
                new Dictionary<string, string>(StringComparer.Ordinal) { ["TMPDIR"] = temporary.FullName }
            );
            await demo.LineAsync("All of it is gone");

            Assert.StartsWith("Pakhouse starts", demo.Output, StringComparison.Ordinal);
            Assert.Equal(1, demo.Output.Split("\"membership\": \"inherited\"").Length - 1); // one token decoded, not two alike
            Assert.Contains("It does not ask about the key: accepted.", demo.Output, StringComparison.Ordinal);
            Assert.Contains("A token of its key is still accepted.", demo.Output, StringComparison.Ordinal);
            Assert.Contains(
                " seconds later the same API, offline as before, says: refused, because the status list says that its key has ended",
                demo.Output,
                StringComparison.Ordinal
            );
            Assert.NotEmpty(temporary.GetDirectories("pakhouse-demo-*"));

            var commands = demo.Output.Split('\n').Where(line => line.StartsWith("curl ", StringComparison.Ordinal)).ToList();
            Assert.Equal(2, commands.Count);
            Assert.NotEmpty(Tool.Curl);
            foreach (var command in commands)
            {
                var curl = await Tool.RunAsync(Tool.Bash, ["-c", command]);
                Assert.True(curl.ExitCode == 0, curl.All);
                using var answer = System.Text.Json.JsonDocument.Parse(curl.Output);
                Assert.Equal(3, answer.RootElement.GetProperty("access_token").GetString()!.Split('.').Length);
                Assert.Equal("Bearer", answer.RootElement.GetProperty("token_type").GetString());
            }

            Assert.Equal(0, await demo.StopAsync(Tool.SIGINT));
            Assert.Empty(temporary.GetDirectories("pakhouse-demo-*"));
        }
        finally
        {
            temporary.Delete(recursive: true);
        }
    }

    [Theory]
    [InlineData("demo")]
    [InlineData(null)]
    public async Task Port_in_use_ends_it_with_words_and_no_stack_trace(string? word)
    {
        using var taken = new TcpListener(IPAddress.Loopback, 0);
        taken.Start();
        var address = $"http://127.0.0.1:{((IPEndPoint)taken.LocalEndpoint).Port}";
        var temporary = Directory.CreateTempSubdirectory("pakhouse-system-");
        try
        {
            var ended = await RunningServer.RunAsync(
                word is null ? [] : [word],
                Path.Combine(temporary.FullName, "data"),
                "--Pakhouse:Listen",
                address
            );

            Assert.Equal(1, ended.ExitCode);
            Assert.Contains(address, ended.Errors, StringComparison.Ordinal);
            Assert.Contains("choose another address", ended.Errors, StringComparison.Ordinal);
            Assert.DoesNotContain("   at ", ended.All, StringComparison.Ordinal);
            Assert.DoesNotContain("Exception", ended.All, StringComparison.Ordinal);
        }
        finally
        {
            temporary.Delete(recursive: true);
        }
    }
}
