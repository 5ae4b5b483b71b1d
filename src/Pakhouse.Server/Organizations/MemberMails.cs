namespace Pakhouse.Server;

/// <summary>
/// The mails that people receive when somebody else changed their memberships, their roles, or whether they can sign in.
/// </summary>
internal static class MemberMails
{
    /// <param name="keys">Those of the person that ended with the membership.</param>
    public static MailContent Removed(MailText by, string place, DateTimeOffset at, IReadOnlyList<MailedKey> keys) => new(
        $"You are no longer a member of {place}{(keys.Count == 0 ? "" : $", and {TimeText.Count(keys.Count, "key")} of yours ended")}",
        $"""
        {by} removed you from {place} on {at}.{(keys.Count == 0 ? MailText.Of($"") : MailText.Of(
            $"""
             Keys that you had there have ended with your membership:

            {KeyMails.List(keys)}
            Programs that hold them get no tokens any more, and this cannot be undone, not even by a new membership.
            """))}

        If you think that this is a mistake, ask an owner of {place}.
        """);

    public static MailContent RolesChanged(MailText by, string place, NameSet before, NameSet after, DateTimeOffset at, MailText link) =>
        new(
            $"Your roles in {place} were changed",
            $"""
            {by} changed your roles in {place} on {at}.

              Before: {KeyChange.Roles(before)}
              Now:    {KeyChange.Roles(after)}

            Your keys there can do what your roles allow, from now on:
            {link}
            """
        );

    public static MailContent Disabled(MailText by, DateTimeOffset at, MailText server) => new($"Your account was disabled",
        $"""
        {by} disabled your account at {server} on {at}. You are signed out everywhere, and your keys get no tokens.

        If you think that this is a mistake, ask the operator of that server.
        """);

    public static MailContent Enabled(MailText by, DateTimeOffset at, MailText link) => new($"Your account was enabled",
        $"""
        {by} enabled your account on {at}. You can sign in again, and your keys work again:
        {link}
        """);
}
