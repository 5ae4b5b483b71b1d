using System.Text;
using Microsoft.AspNetCore.Html;
using ZXing;
using ZXing.QrCode;
using ZXing.QrCode.Internal;

namespace Pakhouse.Server;

/// <summary>
/// A QR code as inline SVG: one path, no style, no other request, so the content security policy allows it and no cache stores it.
/// </summary>
internal static class QrImage
{
    private static readonly Dictionary<EncodeHintType, object> hints = new()
    {
        [EncodeHintType.ERROR_CORRECTION] = ErrorCorrectionLevel.M,
        [EncodeHintType.CHARACTER_SET] = "UTF-8",
        [EncodeHintType.MARGIN] = 4, // the empty margin that a reader needs (ISO/IEC 18004 §9.1)
    };

    public static IHtmlContent Of(string text)
    {
        var modules = new QRCodeWriter().encode(text, BarcodeFormat.QR_CODE, 0, 0, hints);
        var path = new StringBuilder();
        for (var y = 0; y < modules.Height; y++)
            for (var x = 0; x < modules.Width; x++)
                if (modules[x, y])
                    path.Append($"M{x} {y}h1v1h-1z");
        return new HtmlString(
            $"<svg class=\"qr\" viewBox=\"0 0 {modules.Width} {modules.Height}\" role=\"img\" aria-label=\"QR code for the authenticator "
            + $"app\" "
                + $"shape-rendering=\"crispEdges\"><path fill=\"#000\" stroke=\"none\" d=\"{path}\"/></svg>"
        );
    }
}
