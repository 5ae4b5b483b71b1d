namespace Pakhouse.Server;

/// <summary>A row of the record as a sentence: actor, verb, and what it was done to.</summary>
/// <param name="Verb">What follows the actor's name.</param>
/// <param name="Named">How the target is named; <see cref="NamedBy"/>.</param>
public sealed record ActivityWords(string Verb, NamedBy Named = NamedBy.Nothing)
{
    public static ActivityWords Of(string action) => action switch
    {
        Did.OrganizationCreate => new("created", NamedBy.Name),
        Did.OrganizationUpdate => new("changed", NamedBy.Name),
        Did.OrganizationDelete => new("deleted", NamedBy.Name),
        Did.OrganizationDisable => new("disabled", NamedBy.Name),
        Did.OrganizationEnable => new("enabled", NamedBy.Name),
        Did.PolicyUpdate => new("changed the policy"),
        Did.InviteCreate => new("sent an invitation"),
        Did.InviteAgain => new("sent an invitation again"),
        Did.InviteUpdate => new("changed the roles of an invitation"),
        Did.InviteDelete => new("withdrew an invitation"),
        Did.InviteAccept => new("accepted an invitation"),
        Did.InviteUndelivered => new("could not deliver an invitation"),
        Did.MemberAssign => new("added", NamedBy.Person),
        Did.MemberRemove => new("removed", NamedBy.Person),
        Did.MemberLeave => new("left"),
        Did.MemberRoleUpdate => new("changed the roles of", NamedBy.Person),
        Did.KeyCreate => new("generated key", NamedBy.Key),
        Did.KeyRevoke => new("deleted key", NamedBy.Key),
        Did.KeyRotate => new("rotated key", NamedBy.Key),
        Did.KeySuspend => new("suspended key", NamedBy.Key),
        Did.KeyResume => new("resumed key", NamedBy.Key),
        Did.KeyLeak => new("ended the leaked key", NamedBy.Key),
        Did.KeyExpire => new("told that a key has expired:", NamedBy.Key),
        Did.ApiKeyCreate => new("created API key", NamedBy.Key),
        Did.ApiKeyUpdate => new("changed API key", NamedBy.Key),
        Did.ApiKeyRevoke => new("deleted API key", NamedBy.Key),
        Did.ApiKeyRotate => new("rotated API key", NamedBy.Key),
        Did.ApiKeyExpire => new("told that an API key has expired:", NamedBy.Key),
        Did.WebhookCreate => new("created a webhook"),
        Did.WebhookUpdate => new("changed a webhook"),
        Did.WebhookMakerLeft => new("ended the membership of the maker of a webhook"),
        Did.WebhookDelete => new("deleted a webhook"),
        Did.Login => new("signed in"),
        Did.LoginFailed => new("failed to sign in as", NamedBy.Subject),
        Did.Logout => new("signed out"),
        Did.SwitchOrganization => new("switched to", NamedBy.Name),
        Did.PasswordReset => new("set a new password by mail"),
        Did.PasswordChange => new("changed the password"),
        Did.SecondFactorAdd => new("set up a second factor"),
        Did.SecondFactorRemove => new("removed the second factor"),
        Did.RecoveryCodes => new("made new recovery codes"),
        Did.PasskeyAdd => new("added a passkey"),
        Did.PasskeyRemove => new("removed a passkey"),
        Did.MailUndelivered => new("could not deliver a mail to", NamedBy.Subject),
        Did.SessionEnd => new("ended a session"),
        Did.ProviderBind => new("bound an account of the identity provider to", NamedBy.Subject),
        Did.ProviderUnbind => new("unbound the account of the identity provider from", NamedBy.Subject),
        _ => new($"did: {action}"), // the record may hold what a newer program wrote
    };
}

/// <summary>How the sentence names what it was done to.</summary>
public enum NamedBy
{
    Nothing,

    /// <summary>The target's name, or its id.</summary>
    Name,

    /// <summary>The same, of a person; whoever did it to themselves is not named twice.</summary>
    Person,

    /// <summary>Name and id, and whose it is.</summary>
    Key,

    /// <summary>The subject.</summary>
    Subject,
}
