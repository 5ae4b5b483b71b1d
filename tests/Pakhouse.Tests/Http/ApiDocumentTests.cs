using System.Text.Json;
using Microsoft.OpenApi;

namespace Pakhouse.Tests;

/// <summary>docs/openapi.json: that it is what the code says, and that a client can be made from it.</summary>
public static class ApiDocumentTests
{
    private static readonly string file = Path.Combine(Repository.Root, "docs", "openapi.json");

    [Fact]
    public static async Task The_description_that_is_checked_in_is_the_one_that_is_served()
    {
        await using var server = await TestServer.StartAsync();
        var answer = await server.GetAsync("/openapi.json");
        Assert.Equal(200, (int)answer.Status);
        var served = answer.Body + "\n";
        if (Environment.GetEnvironmentVariable("PAKHOUSE_WRITE_OPENAPI") is not null)
            await File.WriteAllTextAsync(file, served);
        Assert.True(
            await File.ReadAllTextAsync(file) == served,
            "docs/openapi.json differs from the code. Run this test once with PAKHOUSE_WRITE_OPENAPI=1 and commit what it wrote."
        );
    }

    [Fact]
    public static async Task The_description_has_no_fault()
    {
        await using var server = await TestServer.StartAsync();
        Assert.Empty(Lint((await server.GetAsync("/openapi.json")).Body));
    }

    [Theory]
    [InlineData("\"operationId\": \"getOrganization\"", "\"operationId\": \"listOrganizations\"", "one id for two")]
    [InlineData("\"summary\": \"One organization\"", "\"x-summary\": \"\"", "summary")]
    [InlineData("\"openapi\": \"3.1", "\"openapi\": \"4.1", "OpenAPI")]
    public static async Task Control_a_fault_is_found(string from, string to, string expected)
    {
        await using var server = await TestServer.StartAsync();
        var text = (await server.GetAsync("/openapi.json")).Body;
        Assert.Contains(from, text, StringComparison.Ordinal);
        Assert.Contains(
            Lint(text.Replace(from, to, StringComparison.Ordinal)),
            fault => fault.Contains(expected, StringComparison.OrdinalIgnoreCase)
        );
    }

    /// <summary>What the reader of the specification's .NET library finds, and rules of ours.</summary>
    private static List<string> Lint(string text)
    {
        OpenApiDocument? document;
        var faults = new List<string>();
        try
        {
            var read = OpenApiDocument.Parse(text, "json");
            document = read.Document;
            faults.AddRange(read.Diagnostic?.Errors.Select(error => error.ToString()) ?? []);
        }
        catch (Exception e) when (e is OpenApiException or OpenApiUnsupportedSpecVersionException or JsonException or NotSupportedException)
        {
            return [$"OpenAPI: {e.Message}"];
        }

        if (document is null)
            return [.. faults, "OpenAPI: no document"];
        var operations = document
            .Paths.SelectMany(path => (path.Value.Operations ?? []).Select(one => (Path: path.Key, Method: one.Key, Operation: one.Value)))
            .ToList();
        faults.AddRange(
            operations
                .GroupBy(one => one.Operation.OperationId, StringComparer.Ordinal)
                .Where(group => group.Count() > 1)
                .Select(group => $"{group.Key}: one id for two")
        );
        foreach (var (path, method, operation) in operations)
        {
            void Demand(bool holds, string what)
            {
                if (!holds)
                    faults.Add($"{method} {path}: {what}");
            }

            Demand(operation.OperationId is { Length: > 0 }, "no id");
            Demand(operation.Summary is { Length: > 0 }, "no summary");
            Demand(operation.Tags is { Count: 1 }, "not one tag");
            var statuses = operation.Responses?.Keys.ToList() ?? [];
            Demand(statuses.Any(status => status.StartsWith('2')), "no answer of success");
            if (operation.Security is { Count: > 0 })
                Demand(((string[])["401", "403", "404", "503"]).All(statuses.Contains), "not every error");
            foreach (var part in path.Split('/').Where(part => part.StartsWith('{')))
                Demand(operation.Parameters?.Any(parameter => $"{{{parameter.Name}}}" == part) == true, $"{part} is not described");
            foreach (var parameter in operation.Parameters ?? [])
            {
                Demand(parameter.Description is { Length: > 0 }, $"parameter {parameter.Name} without a description");
                Demand(
                    parameter.Schema is { } schema
                        && (
                            schema.Pattern
                            ?? schema.Maximum
                            ?? schema.Format
                            ?? (
                                schema.MaxLength is not null
                                || schema.Enum is { Count: > 0 }
                                || schema.Type?.HasFlag(JsonSchemaType.Boolean) == true
                                    ? ""
                                    : null
                            )
                        )
                            is not null,
                    $"parameter {parameter.Name} without a bound"
                );
            }
        }

        return faults;
    }
}
