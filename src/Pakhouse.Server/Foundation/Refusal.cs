namespace Pakhouse.Server;

/// <summary>Why something was refused: the stable part of a <see cref="Refusal"/>.</summary>
public enum RefusalCode
{
    InvalidRequest,
    InvalidScope,
    InvalidGrant,
    InvalidToken,
    InvalidClient,
    AccessDenied,
    SignInNotFresh,
    InsufficientScope,
    SlowDown,
    TemporarilyUnavailable,
    DiskFull,
    NotFound,
    Conflict,
    TooLong,
    WrongType,
    ServerError,
}

/// <summary>Whether a key with a verified secret was used after its end.</summary>
public enum UseAfterEnd
{
    No,

    /// <summary>It was deleted or had expired.</summary>
    OfEnded,

    /// <summary>It was replaced, its overlap is over, and its family is not frozen yet.</summary>
    OfReplaced,
}

/// <summary>
/// An expected refusal, as a value. Exceptions are for bugs and broken infrastructure.
/// </summary>
/// <param name="Code">Stable, for programs.</param>
/// <param name="Description">One public sentence: which field or setting, what was expected, what to do. Never a value that was
/// sent.</param>
/// <param name="Reason">For the log only. It may contain what the public must not learn, but no secret.</param>
public sealed record Refusal(RefusalCode Code, string Description, string Reason)
{
    /// <summary>A refusal of one field. Its description begins with the name, for whoever reads it in a program's log.</summary>
    /// <param name="field">As the caller of the operation knows it: a member of a body, a field of a form, a header.</param>
    /// <param name="message">What was expected and what to do: a sentence without its subject.</param>
    public static Refusal At(string field, RefusalCode code, string message, string reason) =>
        new(code, $"{field}: {message}", reason) { Field = field };

    /// <summary>The field at fault; null: none, or more than one. <see cref="Description"/> begins with it.</summary>
    public string? Field { get; private init; }

    /// <summary>The description without the field's name, for where it stands beside the field.</summary>
    public string Message => Field is null ? Description : Description[(Field.Length + 2)..];

    /// <summary>The same, where the field has another name.</summary>
    public Refusal In(string field) => this with { Field = field, Description = $"{field}: {Message}" };

    /// <summary>The caller gave no valid secret: it counts towards the limit of the caller's address.</summary>
    public bool IsGuess { get; init; }

    /// <summary>For an exchange: the key's holder should know of it; see <see cref="KeyRotation.RecordUseAfterEndAsync"/>.</summary>
    public UseAfterEnd Late { get; init; }

    /// <summary>For <see cref="RefusalCode.InsufficientScope"/>: the required scope.</summary>
    public string? Scope { get; init; }

    /// <summary>Seconds for a <c>Retry-After</c> header; null: no header.</summary>
    public int? RetryAfterSeconds { get; init; }

    /// <summary>The HTTP status (docs/protocol.md, "Errors").</summary>
    public int Status => Code switch
    {
        RefusalCode.InvalidRequest => StatusCodes.Status400BadRequest,
        RefusalCode.InvalidScope => StatusCodes.Status400BadRequest,
        RefusalCode.InvalidGrant => StatusCodes.Status401Unauthorized,
        RefusalCode.InvalidToken => StatusCodes.Status401Unauthorized,
        RefusalCode.InvalidClient => StatusCodes.Status401Unauthorized,
        RefusalCode.AccessDenied => StatusCodes.Status403Forbidden,
        RefusalCode.SignInNotFresh => StatusCodes.Status401Unauthorized,
        RefusalCode.InsufficientScope => StatusCodes.Status403Forbidden,
        RefusalCode.SlowDown => StatusCodes.Status429TooManyRequests,
        RefusalCode.TemporarilyUnavailable => StatusCodes.Status503ServiceUnavailable,
        RefusalCode.DiskFull => StatusCodes.Status507InsufficientStorage,
        RefusalCode.NotFound => StatusCodes.Status404NotFound,
        RefusalCode.Conflict => StatusCodes.Status409Conflict,
        RefusalCode.TooLong => StatusCodes.Status413PayloadTooLarge,
        RefusalCode.WrongType => StatusCodes.Status415UnsupportedMediaType,
        RefusalCode.ServerError => StatusCodes.Status500InternalServerError,
    };

    /// <summary>A text that existing clients compare, instead of the code's own <c>error</c>.</summary>
    public string? ErrorText { get; init; }

    /// <summary>The <c>error</c> member: RFC 6749 §5.2 and §4.1.2.1, RFC 6750 §3.1 for <c>invalid_token</c> and <c>insufficient_scope</c>,
    /// RFC 8628 §3.5 for <c>slow_down</c>, RFC 9470 §3 for <c>insufficient_user_authentication</c>.</summary>
    public string Error => ErrorText ?? Code switch
    {
        RefusalCode.InvalidRequest => "invalid_request",
        RefusalCode.InvalidScope => "invalid_scope",
        RefusalCode.InvalidGrant => "invalid_grant",
        RefusalCode.InvalidToken => "invalid_token",
        RefusalCode.InvalidClient => "invalid_client",
        RefusalCode.AccessDenied => "access_denied",
        RefusalCode.SignInNotFresh => "insufficient_user_authentication",
        RefusalCode.InsufficientScope => "insufficient_scope",
        RefusalCode.SlowDown => "slow_down",
        RefusalCode.TemporarilyUnavailable => "temporarily_unavailable",
        RefusalCode.DiskFull => "insufficient_storage",
        RefusalCode.NotFound => "not_found",
        RefusalCode.Conflict => "conflict",
        RefusalCode.TooLong => "invalid_request",
        RefusalCode.WrongType => "invalid_request",
        RefusalCode.ServerError => "server_error",
    };
}

/// <summary>Either the result or the refusal; exactly one of the two.</summary>
public readonly struct Outcome<T>
{
    private readonly T? value;

    private Outcome(T? value, Refusal? refusal) => (this.value, Refusal) = (value, refusal);

    public Refusal? Refusal { get; }

    /// <exception cref="InvalidOperationException">It was refused, and the caller did not check.</exception>
    public T Value => Refusal is null ? value! : throw new InvalidOperationException($"Refused: {Refusal.Reason}");

    public bool IsRefused => Refusal is not null;

    public static implicit operator Outcome<T>(T value) => new(value, null);

    public static implicit operator Outcome<T>(Refusal refusal) => new(default, refusal);
}
