namespace Pakhouse.Server;

/// <summary>Why a key was created, replaced, ended, suspended or resumed. <see cref="KeyDuties"/> lists what follows from each
/// cause.</summary>
internal enum KeyCause
{
    Created,

    /// <summary>A successor was created; the key keeps working for the overlap.</summary>
    Rotated,

    /// <summary>The overlap of a replaced key ended: it elapsed, its holder ended it, or there was none.</summary>
    OverlapEnded,

    /// <summary>An earlier secret of an API key ended because there is a newer one.</summary>
    Replaced,

    DeletedByHolder,

    /// <summary>Done by an owner or manager of the organization.</summary>
    DeletedByManager,
    DeletedByOperator,

    /// <summary>Done by a caller that holds the secret (RFC 7009).</summary>
    RevokedWithSecret,
    Leaked,

    /// <summary>The current secret of an API key ended, and with it the API key and all its other secrets.</summary>
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

/// <summary>Who is notified by mail.</summary>
internal enum KeyMail
{
    None,

    /// <summary>The holder of a personal key, unless that person did it. For an API key nobody, because its organization's owners and
    /// managers did it.</summary>
    Holder,

    /// <summary>For an API key every owner of its organization, because a service reads no mail.</summary>
    HolderOrOwners,
}

/// <summary>What follows from a change of keys, besides the entry in the status list, which <see cref="KeyLifecycle"/> sets with the change
/// itself.</summary>
/// <param name="Action">The action of the audit record for each personal key.</param>
/// <param name="ApiKeyAction">The action of the audit record for each secret of an API key.</param>
/// <param name="Event">The webhook event for each key.</param>
/// <param name="Reason">The member <c>reason</c> of that event, which is never renamed; null: the event type says it.</param>
/// <param name="Detail">The detail of the audit record.</param>
internal sealed record KeyDuties(
    string Action,
    string ApiKeyAction,
    string Event,
    string? Reason = null,
    KeyMail Mail = KeyMail.None,
    string? Detail = null
)
{
    // One row for each cause; the compiler requires a row for a new cause. Disabling or deleting a whole user or organization sends no
    // mail: an owner could send any number of mails by disabling and enabling, and a deleted user has no address any more. The audit record
    // and the webhooks of each organization report it. A removed member gets one mail about
    // the membership and its keys; Members writes it.
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
