namespace Pakhouse.Server;

/// <summary>Why a key was made, replaced, ended, suspended or resumed. <see cref="KeyDuties"/> says what each of them obliges to.</summary>
internal enum KeyCause
{
    Created,

    /// <summary>A successor was made; the key works on for the overlap.</summary>
    Rotated,

    /// <summary>The overlap of a replaced key is over: by itself, by its holder, or at once where there was none.</summary>
    OverlapEnded,

    /// <summary>An earlier secret of an API key ends because there is a newer one.</summary>
    Replaced,

    DeletedByHolder,

    /// <summary>By an owner or manager of the organization.</summary>
    DeletedByManager,
    DeletedByOperator,

    /// <summary>By whoever holds the secret (RFC 7009).</summary>
    RevokedWithSecret,
    Leaked,

    /// <summary>The current secret of an API key ended, and with it the API key and every other secret of it.</summary>
    ApiKeyEnded,
    MembershipEnded,
    UserDeleted,
    OrganizationDeleted,
    Expired,

    SuspendedByManager,
    ResumedByManager,

    /// <summary>A replaced key was used after its overlap.</summary>
    Frozen,
    UserDisabled,
    UserEnabled,
    OrganizationDisabled,
    OrganizationEnabled,
}

/// <summary>Who must learn by mail.</summary>
internal enum KeyMail
{
    None,

    /// <summary>The person who holds a personal key, unless that person did it. Of an API key nobody: its organization's owners and
    /// managers did it.</summary>
    Holder,

    /// <summary>Of an API key every owner of its organization: nobody reads the mail of a service.</summary>
    HolderOrOwners,
}

/// <summary>What a change of keys obliges to besides the entry in the status list, which <see cref="KeyLifecycle"/> sets with the change
/// itself.</summary>
/// <param name="Action">The row of the record for each personal key.</param>
/// <param name="ApiKeyAction">The same for each secret of an API key.</param>
/// <param name="Event">What webhooks are told for each key.</param>
/// <param name="Reason">The member <c>reason</c> of that message, and never renamed; null: the type says it.</param>
/// <param name="Detail">What the record says beside the action.</param>
internal sealed record KeyDuties(
    string Action,
    string ApiKeyAction,
    string Event,
    string? Reason = null,
    KeyMail Mail = KeyMail.None,
    string? Detail = null
)
{
    // One row for each cause, and the compiler asks for a new one's. What happens to a user or an organization as a whole sends no mail:
    // an owner could send any number of mails by disabling and enabling, and who was deleted has no address any more. The record and the
    // webhooks of each organization say it. Who is removed gets one mail about both, the membership and its keys: Members writes it.
    public static KeyDuties Of(KeyCause cause) =>
        cause switch
        {
            KeyCause.Created => new(AuditAction.KeyCreate, AuditAction.ApiKeyCreate, EventTypes.KeyCreated),
            KeyCause.Rotated => new(AuditAction.KeyRotate, AuditAction.ApiKeyRotate, EventTypes.KeyRotated),
            KeyCause.OverlapEnded => new(
                AuditAction.KeyRotate,
                AuditAction.ApiKeyRotate,
                EventTypes.KeyDeleted,
                "rotation",
                Detail: "overlap ended"
            ),
            KeyCause.Replaced => new(
                AuditAction.KeyRevoke,
                AuditAction.ApiKeyRevoke,
                EventTypes.KeyDeleted,
                "rotation",
                Detail: "replaced"
            ),
            KeyCause.DeletedByHolder => new(AuditAction.KeyRevoke, AuditAction.ApiKeyRevoke, EventTypes.KeyDeleted, "holder"),
            KeyCause.DeletedByManager => new(
                AuditAction.KeyRevoke,
                AuditAction.ApiKeyRevoke,
                EventTypes.KeyDeleted,
                "manager",
                KeyMail.Holder
            ),
            KeyCause.DeletedByOperator => new(
                AuditAction.KeyRevoke,
                AuditAction.ApiKeyRevoke,
                EventTypes.KeyDeleted,
                "operator",
                KeyMail.HolderOrOwners
            ),
            KeyCause.RevokedWithSecret => new(
                AuditAction.KeyRevoke,
                AuditAction.ApiKeyRevoke,
                EventTypes.KeyDeleted,
                "secret",
                KeyMail.HolderOrOwners,
                "by the key itself"
            ),
            KeyCause.Leaked => new(AuditAction.KeyLeak, AuditAction.KeyLeak, EventTypes.KeyLeaked, Mail: KeyMail.HolderOrOwners),
            KeyCause.ApiKeyEnded => new(
                AuditAction.KeyRevoke,
                AuditAction.ApiKeyRevoke,
                EventTypes.KeyDeleted,
                "api_key",
                Detail: "API key ended"
            ),
            KeyCause.MembershipEnded => new(
                AuditAction.KeyRevoke,
                AuditAction.ApiKeyRevoke,
                EventTypes.KeyDeleted,
                "membership",
                Detail: "membership ended"
            ),
            KeyCause.UserDeleted => new(
                AuditAction.KeyRevoke,
                AuditAction.ApiKeyRevoke,
                EventTypes.KeyDeleted,
                "user",
                Detail: "user deleted"
            ),
            KeyCause.OrganizationDeleted => new(
                AuditAction.KeyRevoke,
                AuditAction.ApiKeyRevoke,
                EventTypes.KeyDeleted,
                "organization",
                Detail: "organization deleted"
            ),
            KeyCause.Expired => new(AuditAction.KeyExpire, AuditAction.ApiKeyExpire, EventTypes.KeyExpired, Mail: KeyMail.HolderOrOwners),
            KeyCause.SuspendedByManager => new(
                AuditAction.KeySuspend,
                AuditAction.KeySuspend,
                EventTypes.KeySuspended,
                "manager",
                KeyMail.Holder
            ),
            KeyCause.ResumedByManager => new(
                AuditAction.KeyResume,
                AuditAction.KeyResume,
                EventTypes.KeyResumed,
                "manager",
                KeyMail.Holder
            ),
            KeyCause.Frozen => new(
                AuditAction.KeySuspend,
                AuditAction.KeySuspend,
                EventTypes.KeySuspended,
                "used_after_overlap",
                KeyMail.Holder
            ),
            KeyCause.UserDisabled => new(
                AuditAction.KeySuspend,
                AuditAction.KeySuspend,
                EventTypes.KeySuspended,
                "user",
                Detail: "user disabled"
            ),
            KeyCause.UserEnabled => new(
                AuditAction.KeyResume,
                AuditAction.KeyResume,
                EventTypes.KeyResumed,
                "user",
                Detail: "user enabled"
            ),
            KeyCause.OrganizationDisabled => new(
                AuditAction.KeySuspend,
                AuditAction.KeySuspend,
                EventTypes.KeySuspended,
                "organization",
                Detail: "organization disabled"
            ),
            KeyCause.OrganizationEnabled => new(
                AuditAction.KeyResume,
                AuditAction.KeyResume,
                EventTypes.KeyResumed,
                "organization",
                Detail: "organization enabled"
            ),
        };
}
