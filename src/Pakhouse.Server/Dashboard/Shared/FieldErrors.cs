using System.Text.Encodings.Web;
using Microsoft.AspNetCore.Html;

namespace Pakhouse.Server;

/// <summary>One message and its field.</summary>
/// <param name="Field">Id of the element; empty: the form as a whole.</param>
/// <param name="Label">The field's label, for the summary.</param>
public sealed record FieldError(string Field, string Label, string Message);

/// <summary>The errors of a form: a summary at its top, and each message next to its field.</summary>
public sealed class FieldErrors
{
    private readonly List<FieldError> errors = [];

    public IReadOnlyList<FieldError> All => errors;

    public bool Any => errors.Count > 0;

    /// <summary>The operation requires a fresh sign-in; <see cref="FreshSignIn"/> asks the person.</summary>
    public bool NeedsSignIn { get; private set; }

    /// <summary>For the form as a whole.</summary>
    public void Add(string message) => errors.Add(new("", "", message));

    /// <summary>Beside the field at fault, where the page has it; else for the form as a whole.</summary>
    /// <param name="fields">Maps the operation's name of a field to its element and label.</param>
    public void Add(Refusal refusal, params ReadOnlySpan<(string Word, string Field, string Label)> fields)
    {
        NeedsSignIn |= refusal.Code == RefusalCode.SignInNotFresh;
        foreach (var (word, field, label) in fields)
        {
            if (refusal.Field != word)
                continue;
            var message = refusal.Message;
            errors.Add(new(field, label, char.ToUpperInvariant(message[0]) + message[1..]));
            return;
        }

        Add(refusal.Description);
    }

    /// <summary>For <c>aria-invalid</c>; null omits the attribute.</summary>
    public string? Invalid(string field) => Of(field) is null ? null : "true";

    /// <summary>For <c>aria-describedby</c>: the message, if any, then the hint.</summary>
    public string? Describe(string field, string? hint = null) =>
        Of(field) is null ? hint
        : hint is null ? $"{field}-error"
        : $"{field}-error {hint}";

    /// <summary>The message next to the field, if there is one.</summary>
    public IHtmlContent MessageFor(string field) =>
        Of(field) is { } error
            ? new HtmlString($"<p class=\"error\" id=\"{field}-error\">{HtmlEncoder.Default.Encode(error.Message)}</p>")
            : HtmlString.Empty;

    private FieldError? Of(string field) => errors.Find(error => error.Field == field);
}
