using System.Text;

namespace Pakhouse.Tests;

public static class ScopeCatalogueTests
{
    [Fact]
    public static async Task Scopes_of_the_file_and_of_the_setting_stand_beside_the_standard_ones_and_can_be_asked_for()
    {
        var file = Path.GetTempFileName();
        await File.WriteAllTextAsync(file, """[{"name":"orders","title":"Orders","description":"Read and write orders."}]""");
        await using var server = await TestServer.StartAsync($"--Pakhouse:ScopesFile={file}", "--Pakhouse:Scopes=stock");
        File.Delete(file);
        var shown = (await server.GetAsync("/scopes.json"))
            .Json.EnumerateArray()
            .Select(scope => $"{scope.GetProperty("name")}:{scope.GetProperty("title")}");
        Assert.Equal(
            [
                "openid:Identity",
                "profile:Name",
                "email:E-mail address",
                "organization:read:Read organizations",
                "organization:write:Change organizations",
                "orders:Orders",
                "stock:stock",
            ],
            shown
        );
        var acme = await server.AddAcmeAsync();
        var key = await server.AddKeyAsync(acme.Owner, acme.Root, null, "orders", "stock");
        Assert.Equal("orders", (await server.ExchangeAsync(key, scope: "orders")).Json.GetProperty("scope").GetString());
        Assert.Equal("invalid_scope", (await server.ExchangeAsync(key, scope: "orders email")).Error); // never a widening
    }

    [Theory]
    [InlineData("null")]
    [InlineData("{}")]
    [InlineData("[null]")]
    [InlineData("""[{"name":"orders"}]""")]
    [InlineData("""[{"name":"two words","title":"x"}]""")]
    [InlineData("""[{"name":"openid","title":"x"}]""")]
    [InlineData("""[{"name":"organization:read","title":"x"}]""")]
    [InlineData("""[{"name":"a","title":"x"},{"name":"a","title":"y"}]""")]
    [InlineData("""[{"name":"a","title":"x","colour":"red"}]""")]
    public static void What_is_no_catalogue_is_refused(string text) =>
        Assert.Throws<FormatException>(() => ScopeCatalogue.Parse(Encoding.UTF8.GetBytes(text)));
}
