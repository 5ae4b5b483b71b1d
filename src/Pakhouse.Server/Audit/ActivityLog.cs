using System.Data.Common;
using Dapper;

namespace Pakhouse.Server;

/// <summary>The actions, in terms that users of such products know. They are stored as they are here, so they are never renamed.</summary>
public static class AuditAction
{
    public const string OrganizationCreate = "Organization Create",
        OrganizationUpdate = "Organization Update",
        OrganizationDelete = "Organization Delete";
    public const string OrganizationDisable = "Organization Disable",
        OrganizationEnable = "Organization Enable",
        PolicyUpdate = "Policy Update";
    public const string InviteCreate = "Invite Create",
        InviteAgain = "Invite Re-Invite",
        InviteUpdate = "Invite Update",
        InviteDelete = "Invite Delete",
        InviteAccept = "Invite Accept";
    public const string InviteUndelivered = "Invite Undelivered";
    public const string MemberAssign = "Member Assign",
        MemberRemove = "Member Remove",
        MemberLeave = "Member Leave",
        MemberRoleUpdate = "Member Role Update";
    public const string KeyCreate = "PAT Create",
        KeyRevoke = "PAT Revoke",
        KeyRotate = "PAT Rotate",
        KeySuspend = "PAT Suspend",
        KeyResume = "PAT Resume",
        KeyLeak = "PAT Leak",
        KeyExpire = "PAT Expire";
    public const string ApiKeyCreate = "API Key Create",
        ApiKeyUpdate = "API Key Update",
        ApiKeyRevoke = "API Key Revoke",
        ApiKeyRotate = "API Key Rotate",
        ApiKeyExpire = "API Key Expire";
    public const string WebhookCreate = "Webhook Create",
        WebhookUpdate = "Webhook Update",
        WebhookDelete = "Webhook Delete",
        WebhookMakerLeft = "Webhook Maker Left";
    public const string SigningKeyCreate = "Signing Key Create",
        SigningKeyDelete = "Signing Key Delete",
        DatabaseRestore = "Database Restore";
    public const string ProtectionKeysRenew = "Data Protection Keys Renew";
    public const string UserCreate = "User Create",
        UserDisable = "User Disable",
        UserEnable = "User Enable",
        UserDelete = "User Delete";

    // The actions of the page "Auth Activity".
    public const string Login = "Login",
        LoginFailed = "Login Failed",
        Logout = "Logout",
        SwitchOrganization = "Switch Organization";
    public const string PasswordReset = "Password Reset",
        PasswordChange = "Password Change",
        SecondFactorAdd = "Second Factor Add",
        SecondFactorRemove = "Second Factor Remove";
    public const string PasskeyAdd = "Passkey Add",
        PasskeyRemove = "Passkey Remove",
        SessionEnd = "Session End",
        RecoveryCodes = "Recovery Codes Renew";
    public const string ProviderBind = "Provider Bind",
        ProviderUnbind = "Provider Unbind",
        ProviderLink = "Provider Link Send";
    public const string MailUndelivered = "Mail Undelivered";
}

/// <summary>
/// The audit record: one row for each change that somebody may ask about later, written in the change's own transaction. If the row cannot
/// be written, the change does not happen. Rows are never changed, and are deleted only after their retention (<see
/// cref="ActivityRetention"/>): the schema refuses everything else. A row contains ids, never a secret, a name or an e-mail address.
/// </summary>
public static class ActivityLog
{
    /// <param name="action">One of <see cref="AuditAction"/>.</param>
    /// <param name="target">The id of what was changed.</param>
    /// <param name="subject">The affected person, if the target belongs to a person.</param>
    /// <param name="detail">Names of roles and the like.</param>
    public static Task WriteAsync(
        DbTransaction transaction,
        TimeProvider clock,
        Actor actor,
        string action,
        Guid? organizationId,
        string target,
        Guid? subject = null,
        string? detail = null
    )
    {
        Note(transaction, actor, action, organizationId, target);
        return transaction.Connection!.ExecuteAsync(
            """
            INSERT INTO activity (id, at, organization_id, actor_user_id, actor_key_id, address, action, target, subject_user_id, detail)
            VALUES (@id, @at, @organizationId, @userId, @keyId, @address, @action, @target, @subject, @detail)
            """,
            new
            {
                id = Ids.New(clock),
                at = clock.GetUtcNow(),
                organizationId,
                userId = actor.UserId,
                keyId = actor.KeyId,
                address = actor.Address?.ToString(),
                action,
                target,
                subject,
                detail,
            }, transaction);
    }

    /// <summary>For the operator's log, which writes it when the change is committed.</summary>
    internal static void Note(DbTransaction transaction, Actor actor, string action, Guid? organizationId, string target) =>
        TransactionNotes.Of(transaction).Add(new RecordedChange(action, target, IdOf(actor), organizationId));

    private static string IdOf(Actor actor) =>
        actor.KeyId is { } key ? $"key {key}"
        : actor.UserId is { } user ? $"user {user}"
        : actor.Credential == Credential.Operator ? "operator"
        : "nobody"; // a failed sign-in has no known actor
}
