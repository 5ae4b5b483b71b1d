using System.Buffers;
using System.Text.Json;

namespace Pakhouse.Server;

/// <summary>
/// <c>GET /status-lists/{n}</c>, as a signed list or as a stream of changes, and <c>GET /status-lists</c>, which names the lists (Token
/// Status List §8 and §9). Public: a list shows that the key with some number has ended, but not whose key it was.
/// </summary>
public sealed class StatusListEndpoint(StatusLists lists, StatusStreams streams, PakhouseOptions options, PublicAddress publicAddress)
{
    public const string MediaType = "application/statuslist+jwt";
    internal const string StreamType = "text/event-stream";

    public static void Map(IEndpointRouteBuilder routes)
    {
        var endpoint = routes.ServiceProvider.GetRequiredService<StatusListEndpoint>();
        routes.MapGet("/status-lists", endpoint.WriteAggregationAsync).ShortCircuit();
        routes.MapGet("/status-lists/{number:int:min(0)}", endpoint.WriteListAsync).ShortCircuit();
    }

    private async Task WriteListAsync(HttpContext context)
    {
        var (request, response) = (context.Request, context.Response);
        var number = int.Parse((string)request.RouteValues["number"]!);
        if (request.Query.ContainsKey("time")) // §8.4
        {
            response.StatusCode = StatusCodes.Status501NotImplemented;
            return;
        }

        var accept = request.Headers.Accept.ToString();
        if (accept.Contains(StreamType, StringComparison.OrdinalIgnoreCase))
        {
            await streams.WriteAsync(context, number);
            return;
        }

        if (accept.Length > 0 && !Takes(accept))
        {
            response.StatusCode = StatusCodes.Status406NotAcceptable;
            return;
        }

        if (await lists.GetAsync(number) is not { } list)
        {
            await RefusalWriter.WriteAsync(context, NoSuchList);
            return;
        }

        response.Headers.CacheControl = $"public, max-age={(int)options.StatusTtl.TotalSeconds}";
        response.Headers.Vary = "Accept, Accept-Encoding";
        response.Headers.ETag = list.ETag;
        if (request.Headers.IfNoneMatch.ToString().Contains(list.ETag, StringComparison.Ordinal))
        {
            response.StatusCode = StatusCodes.Status304NotModified;
            return;
        }

        var isGzipped = request.Headers.AcceptEncoding.ToString().Contains("gzip", StringComparison.OrdinalIgnoreCase);
        if (isGzipped) response.Headers.ContentEncoding = "gzip";
        var body = isGzipped ? list.Gzipped : list.Jwt;
        response.ContentType = MediaType;
        response.ContentLength = body.Length;
        await response.Body.WriteAsync(body, context.RequestAborted);
    }

    private async Task WriteAggregationAsync(HttpContext context)
    {
        await lists.RefreshAsync();
        var buffer = new ArrayBufferWriter<byte>(256);
        using (var json = new Utf8JsonWriter(buffer))
        {
            json.WriteStartObject();
            json.WriteStartArray("status_lists"u8);
            for (var number = 0; number < lists.Count; number++) json.WriteStringValue(StatusLists.Address(publicAddress.Value, number));
            json.WriteEndArray();
            json.WriteEndObject();
        }

        context.Response.Headers.CacheControl = $"public, max-age={(int)options.StatusTtl.TotalSeconds}";
        context.Response.ContentType = "application/json";
        await context.Response.Body.WriteAsync(buffer.WrittenMemory, context.RequestAborted);
    }

    private static bool Takes(string accept) =>
        accept.Contains("*/*", StringComparison.Ordinal)
        || accept.Contains("application/*", StringComparison.OrdinalIgnoreCase)
        || accept.Contains(MediaType, StringComparison.OrdinalIgnoreCase);

    internal static readonly Refusal NoSuchList = new(
        RefusalCode.NotFound,
        "There is no such status list. GET /status-lists names all lists.",
        "no such status list"
    );
}
