namespace Pakhouse.Tests;

public static partial class MatrixRows
{
    /// <summary>The pages, and the forms on them.</summary>
    private static IEnumerable<MatrixRow> Pages() =>
    [
        // Pages
        Public("PAGE", "/docs/api"),
        Public("PAGE", "/sign-in"),
        Public("PAGE", "/sign-in/code"),
        Public("PAGE", "/forgot-password"),
        Public("PAGE", "/reset-password"),
        Public("PAGE", "/sign-in/connect"), // the code of the mail is the credential
        Public("PAGE", "/sign-out"),
        Public("PAGE", "/setup"), // its code is the credential
        Known("PAGE", "/"),
        Known("PAGE", "/Index"),
        Known("PAGE", "/organizations"),
        Known("PAGE", "/account"),
        Known("PAGE", "/account/confirm"),
        Known("PAGE", "/account/second-factor"),
        Known("PAGE", "/account/password"),
        Known("PAGE", "/account/passkeys/add"),
        Known("PAGE", "/account/passkeys/{id}/remove"),
        Known("PAGE", "/organizations/new"),
        Page("/organizations/{organizationId}/team", Permission.SeeOrganization, Everybody),
        // rename; the other acts demand what their API calls do
        Page("/organizations/{organizationId}/team/{act}", Permission.RenameOrganization, Leaders),
        Page("/organizations/{organizationId}/team/invite", Permission.InviteMember, Leaders),
        Page("/organizations/{organizationId}/team/invitations/{invitationId}/{act}", Permission.InviteMember, Leaders),
        Page("/organizations/{organizationId}/team/members/{userId}", Permission.ChangeRoles, Leaders),
        Page("/organizations/{organizationId}/team/members/{userId}/remove", Permission.RemoveMember, Leaders),
        Page("/organizations/{organizationId}/activity", Permission.SeeOrganization, Everybody), // of those who may not see all, their own
        Page("/organizations/{organizationId}/auth-activity", Permission.SeeOrganization, Everybody),
        Page("/organizations/{organizationId}/security", Permission.SeeOrganization, Everybody),
        Page("/organizations/{organizationId}/security/keys/{keyId}", Permission.ListOwnKeys, People),
        // shown to the holder; the form demands RotateOwnKey
        Page("/organizations/{organizationId}/security/keys/{keyId}/rotate", Permission.ListOwnKeys, People),
        Page("/organizations/{organizationId}/security/api-keys/new", Permission.CreateApiKey, LeadersInPerson),
        Page("/organizations/{organizationId}/security/api-keys/{keyId}", Permission.ListApiKeys, Leaders),
        Page("/organizations/{organizationId}/webhooks", Permission.ManageWebhooks, OwnersInPerson),
        Page("/organizations/{organizationId}/webhooks/{id}", Permission.ManageWebhooks, OwnersInPerson),
        Public("PAGE", "/invitations/{code}"), // the code is the credential
        Page("/organizations/{organizationId}/policy", Permission.ChangePolicy, OwnersInPerson), // what holds stands on the Security page
        Page("/organizations/{organizationId}/keys", Permission.ListMemberKeys, Leaders),
        Page("/organizations/{organizationId}/security/keys/{keyId}/explain", Permission.ExplainOwnKey, PeopleInPerson),
        Page("/organizations/{organizationId}/security/keys/{keyId}/delete", Permission.ListOwnKeys, People),

        // Forms: a row for each handler of a page
        Public("FORM", "/sign-in"),
        Public("FORM", "/sign-in?handler=Passkey"),
        Public("FORM", "/sign-in/code"),
        Public("FORM", "/forgot-password"),
        Public("FORM", "/reset-password"),
        Public("FORM", "/sign-in/connect"),
        Public("FORM", "/sign-out"), // without a session nothing ends
        Public("FORM", "/setup"),
        Public("FORM", "/invitations/{code}"), // who accepts is asked of the session behind the code
        Known("FORM", "/account/confirm", Permission.ReadSession, "Password=wrong"),
        Known("FORM", "/account/password", Permission.ChangePassword, "OldPassword=wrong"),
        Known("FORM", "/account?handler=End", Permission.EndSession, "id=00000000-0000-0000-0000-000000000000"),
        Known("FORM", "/account?handler=EndOthers", Permission.EndOtherSessions),
        Known("FORM", "/account?handler=Disconnect", Permission.DisconnectProvider),
        Known("FORM", "/account/second-factor", Permission.AddSecondFactor),
        Known("FORM", "/account/second-factor?handler=Renew", Permission.RenewRecoveryCodes),
        Known("FORM", "/account/second-factor?handler=Remove", Permission.RemoveSecondFactor),
        Known("FORM", "/account/passkeys/add", Permission.AddPasskey),
        Known("FORM", "/account/passkeys/{id}/remove", Permission.RemovePasskey),
        Known("FORM", "/organizations/new", Permission.CreateOrganization, "Name="),
        Form("/organizations/{organizationId}/team", Permission.CreateSubOrganization, Leaders, "Name="),
        Form("/organizations/{organizationId}/team/{act}", Permission.RenameOrganization, Leaders, "Name="),
        Form("/organizations/{organizationId}/team/{act}", Permission.DisableOrganization, OwnersInPerson, "")
            with { Parameter = ("act", "enable") },
        Form("/organizations/{organizationId}/team/{act}", Permission.DeleteOrganization, OwnersInPerson, "Name=")
            with { Parameter = ("act", "delete") },
        Form("/organizations/{organizationId}/team/{act}", Permission.Leave, DirectMembersInPerson, "")
            with { Parameter = ("act", "leave"), Undo = MembersAgain },
        Form("/organizations/{organizationId}/team/invite", Permission.InviteMember, Leaders, "Email="),
        Form("/organizations/{organizationId}/team/invitations/{invitationId}/{act}", Permission.InviteMember, Leaders, "")
            with { Parameter = ("act", "withdraw") },
        Form("/organizations/{organizationId}/team/members/{userId}", Permission.ChangeRoles, Leaders, "roles.x=no-such-role"),
        Form("/organizations/{organizationId}/team/members/{userId}?handler=Connect", Permission.ConnectMember, OwnersInPerson, ""),
        Form("/organizations/{organizationId}/team/members/{userId}/remove", Permission.RemoveMember, Leaders, "")
            with { Parameter = ("userId", "0190f3a2-7c11-7d3e-9b52-3f1c8a6d4e70") },
        Form("/organizations/{organizationId}/security", Permission.GenerateOwnKey, DirectMembersInPerson,
            "Ticket={ticket}&Name=Matrix&Expires=never&Scopes=no-such-scope"),
        Form("/organizations/{organizationId}/security/keys/{keyId}", Permission.RotateOwnKey, DirectMembersInPerson, ""),
        // an inherited member has none to rotate
        Form("/organizations/{organizationId}/security/keys/{keyId}/rotate", Permission.ListOwnKeys, People, "Ticket={ticket}"),
        Form("/organizations/{organizationId}/security/keys/{keyId}/delete", Permission.DeleteOwnKey, People, ""),
        // and then ChangeRoles, for a change that is there
        Form("/organizations/{organizationId}/security/keys/{keyId}/changes", Permission.SeeActivity, Watchers, ""),
        Form("/organizations/{organizationId}/security/api-keys/new", Permission.CreateApiKey, LeadersInPerson, "Ticket={ticket}&Name="),
        Form("/organizations/{organizationId}/security/api-keys/{keyId}", Permission.ChangeApiKey, LeadersInPerson, "Name="),
        Form("/organizations/{organizationId}/security/api-keys/{keyId}?handler=Rotate", Permission.RotateApiKey, LeadersInPerson,
            "Ticket={ticket}"),
        Form("/organizations/{organizationId}/security/api-keys/{keyId}?handler=Delete", Permission.DeleteApiKey, Leaders, ""),
        Form("/organizations/{organizationId}/webhooks", Permission.ManageWebhooks, OwnersInPerson, "Address=&Events=key.created"),
        Form("/organizations/{organizationId}/webhooks/{id}", Permission.ManageWebhooks, OwnersInPerson, "Address=&Events=key.created"),
        Form("/organizations/{organizationId}/webhooks/{id}?handler=Test", Permission.ManageWebhooks, OwnersInPerson, ""),
        Form("/organizations/{organizationId}/webhooks/{id}?handler=Resend", Permission.ManageWebhooks, OwnersInPerson, "Message=none"),
        Form("/organizations/{organizationId}/webhooks/{id}?handler=Secret", Permission.ManageWebhooks, OwnersInPerson, ""),
        Form("/organizations/{organizationId}/webhooks/{id}?handler=Delete", Permission.ManageWebhooks, OwnersInPerson, ""),
        Form("/organizations/{organizationId}/policy", Permission.ChangePolicy, OwnersInPerson, "Confirmed=true&Version=none"),
        Form("/organizations/{organizationId}/keys", Permission.SuspendMemberKey, LeadersInPerson,
            "Action=Suspend&Confirmed=true&KeyIds=0000000000000000"),
        Form("/organizations/{organizationId}/keys", Permission.DeleteMemberKey, Leaders,
            "Action=Delete&Confirmed=true&KeyIds=0000000000000000"),
        Page("/organizations/{organizationId}/security/keys/{keyId}/changes", Permission.SeeActivity, Watchers),
    ];
}
