using System.Reflection;
using System.Security.Cryptography;

namespace Pakhouse.Server;

/// <summary>Style sheet, script and icon: embedded in the assembly, with a hash of the content in the URL, cached by browsers for a
/// year.</summary>
public static class Assets
{
    private static readonly Dictionary<string, (byte[] Content, string Version, string ContentType)> files = Load();

    /// <summary>The URL of an asset with the version of its content: <c>/assets/app.css?v=…</c>.</summary>
    public static string Url(string name) => $"/assets/{name}?v={files[name].Version}";

    public static void Map(IEndpointRouteBuilder routes) =>
        routes
            .MapGet(
                "/assets/{name}",
                (string name, HttpContext context) =>
                {
                    SecurityHeaders.Set(context.Response);
                    if (!files.TryGetValue(name, out var file))
                        return Results.NotFound();
                    context.Response.Headers.CacheControl =
                        context.Request.Query["v"] == file.Version ? "public, max-age=31536000, immutable" : "no-cache";
                    return Results.Bytes(file.Content, file.ContentType);
                }
            )
            .ExcludeFromDescription()
            .ShortCircuit(); // otherwise a session would renew its cookie here, and a cache would store it

    private static Dictionary<string, (byte[] Content, string Version, string ContentType)> Load()
    {
        var assembly = Assembly.GetExecutingAssembly();
        var loaded = new Dictionary<string, (byte[], string, string)>(StringComparer.Ordinal);
        foreach (var resource in assembly.GetManifestResourceNames().Where(name => name.StartsWith("assets/", StringComparison.Ordinal)))
        {
            using var stream = assembly.GetManifestResourceStream(resource)!;
            var content = new byte[stream.Length];
            stream.ReadExactly(content);
            var type = Path.GetExtension(resource) switch
            {
                ".css" => "text/css; charset=utf-8",
                ".js" => "text/javascript; charset=utf-8",
                ".svg" => "image/svg+xml",
                _ => "application/octet-stream",
            };
            loaded[resource["assets/".Length..]] = (content, Convert.ToHexStringLower(SHA256.HashData(content))[..12], type);
        }

        return loaded;
    }
}
