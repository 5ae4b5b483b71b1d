namespace Pakhouse.Server;

/// <summary>A row of the audit record as a sentence: actor, verb, and object.</summary>
/// <param name="Verb">The text after the actor's name.</param>
/// <param name="Named">How the target is named; <see cref="NamedBy"/>.</param>
public sealed record ActivityText(string Verb, NamedBy Named = NamedBy.Nothing)
{
    public static ActivityText Of(string action) => action switch
    {
        AuditAction.OrganizationCreate => new("created", NamedBy.Name),
        AuditAction.OrganizationUpdate => new("changed", NamedBy.Name),
        AuditAction.OrganizationDelete => new("deleted", NamedBy.Name),
        AuditAction.OrganizationDisable => new("disabled", NamedBy.Name),
        AuditAction.OrganizationEnable => new("enabled", NamedBy.Name),
        AuditAction.PolicyUpdate => new("changed the policy"),
        AuditAction.InviteCreate => new("sent an invitation"),
        AuditAction.InviteAgain => new("sent an invitation again"),
        AuditAction.InviteUpdate => new("changed the roles of an invitation"),
        AuditAction.InviteDelete => new("withdrew an invitation"),
        AuditAction.InviteAccept => new("accepted an invitation"),
        AuditAction.InviteUndelivered => new("could not deliver an invitation"),
        AuditAction.MemberAssign => new("added", NamedBy.Person),
        AuditAction.MemberRemove => new("removed", NamedBy.Person),
        AuditAction.MemberLeave => new("left"),
        AuditAction.MemberRoleUpdate => new("changed the roles of", NamedBy.Person),
        AuditAction.KeyCreate => new("generated key", NamedBy.Key),
        AuditAction.KeyRevoke => new("deleted key", NamedBy.Key),
        AuditAction.KeyRotate => new("rotated key", NamedBy.Key),
        AuditAction.KeySuspend => new("suspended key", NamedBy.Key),
        AuditAction.KeyResume => new("resumed key", NamedBy.Key),
        AuditAction.KeyLeak => new("ended the leaked key", NamedBy.Key),
        AuditAction.KeyExpire => new("told that a key has expired:", NamedBy.Key),
        AuditAction.ApiKeyCreate => new("created API key", NamedBy.Key),
        AuditAction.ApiKeyUpdate => new("changed API key", NamedBy.Key),
        AuditAction.ApiKeyRevoke => new("deleted API key", NamedBy.Key),
        AuditAction.ApiKeyRotate => new("rotated API key", NamedBy.Key),
        AuditAction.ApiKeyExpire => new("told that an API key has expired:", NamedBy.Key),
        AuditAction.WebhookCreate => new("created a webhook"),
        AuditAction.WebhookUpdate => new("changed a webhook"),
        AuditAction.WebhookMakerLeft => new("ended the membership of the maker of a webhook"),
        AuditAction.WebhookDelete => new("deleted a webhook"),
        AuditAction.Login => new("signed in"),
        AuditAction.LoginFailed => new("failed to sign in as", NamedBy.Subject),
        AuditAction.Logout => new("signed out"),
        AuditAction.SwitchOrganization => new("switched to", NamedBy.Name),
        AuditAction.PasswordReset => new("set a new password by mail"),
        AuditAction.PasswordChange => new("changed the password"),
        AuditAction.SecondFactorAdd => new("set up a second factor"),
        AuditAction.SecondFactorRemove => new("removed the second factor"),
        AuditAction.RecoveryCodes => new("made new recovery codes"),
        AuditAction.PasskeyAdd => new("added a passkey"),
        AuditAction.PasskeyRemove => new("removed a passkey"),
        AuditAction.MailUndelivered => new("could not deliver a mail to", NamedBy.Subject),
        AuditAction.SessionEnd => new("ended a session"),
        AuditAction.ProviderBind => new("bound an account of the identity provider to", NamedBy.Subject),
        AuditAction.ProviderLink => new("sent a link to connect with the identity provider to", NamedBy.Subject),
        AuditAction.ProviderUnbind => new("unbound the account of the identity provider from", NamedBy.Subject),
        _ => new($"did: {action}"), // a newer program may have written the row
    };
}

/// <summary>How the sentence names its object.</summary>
public enum NamedBy
{
    Nothing,

    /// <summary>The target's name, or its id.</summary>
    Name,

    /// <summary>The same for a person; a person who acted on themselves is not named twice.</summary>
    Person,

    /// <summary>Name and id, and the holder.</summary>
    Key,

    /// <summary>The subject.</summary>
    Subject,
}
