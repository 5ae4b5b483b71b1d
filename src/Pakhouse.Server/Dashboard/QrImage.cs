using System.Text;
using Microsoft.AspNetCore.Html;
using QRCoder;

namespace Pakhouse.Server;

/// <summary>A QR code as inline SVG: one path, no style, no other request, so the content security policy lets it stand and no cache keeps it.</summary>
internal static class QrImage
{
    public static IHtmlContent Of(string text)
    {
        using var data = QRCodeGenerator.GenerateQrCode(text, QRCodeGenerator.ECCLevel.M);
        var rows = data.ModuleMatrix;
        var path = new StringBuilder();
        for (var y = 0; y < rows.Count; y++)
            for (var x = 0; x < rows.Count; x++)
                if (rows[y][x]) path.Append($"M{x} {y}h1v1h-1z");
        return new HtmlString($"<svg class=\"qr\" viewBox=\"0 0 {rows.Count} {rows.Count}\" role=\"img\" aria-label=\"QR code for the authenticator app\" shape-rendering=\"crispEdges\"><path fill=\"#000\" stroke=\"none\" d=\"{path}\"/></svg>");
    }
}
