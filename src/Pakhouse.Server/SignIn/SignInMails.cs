using System.Data.Common;
using System.Net;
using Dapper;

namespace Pakhouse.Server;

/// <summary>The mails to people about their own sign-in: whoever changes it, its owner is notified.</summary>
internal static class SignInMails
{
    /// <summary>Notifies the actor of a change made in their name.</summary>
    public static async Task ChangedAsync(
        Mails mails,
        DbTransaction transaction,
        Actor actor,
        string what,
        string then,
        PublicAddress publicAddress,
        TimeProvider clock
    )
    {
        var email = await transaction.Connection!.ExecuteScalarAsync<string>(
            "SELECT email FROM users WHERE id = @UserId",
            new { actor.UserId },
            transaction
        );
        await mails.EnqueueAsync(
            transaction,
            email!,
            new MailContent(
                $"Pakhouse: {char.ToLowerInvariant(what[0]) + what[1..]}",
                $"""
                {what}: on {clock.GetUtcNow()}, from the address {actor.Address}.

                {then}

                If it was not you: reset your password at {MailText.Link(
                    publicAddress,
                    "/forgot-password"
                )}, which ends every session, and look through
                {MailText.Link(publicAddress, "/account")}
                """
            )
        );
    }

    /// <summary>The browser is not named, because its user agent is text of the caller.</summary>
    public static MailContent NewPlace(string method, IPAddress? address, DateTimeOffset at, PublicAddress publicAddress) => new(
        $"Pakhouse: sign-in from a new network",
        $"""
        Somebody signed in to your account on {at}, by {method}, from the address {address}.
        You have not signed in from that network in the last {SessionStore.LifetimeMax.Days} days.

        If it was you, do nothing. If it was not you: end the session and look through your ways to sign in at
        {MailText.Link(publicAddress, "/account")}

        Then choose another password, which ends every other session: {MailText.Link(publicAddress, "/forgot-password")}
        """);

    public static MailContent Bound(DateTimeOffset at, PublicAddress publicAddress) =>
        new(
            $"Pakhouse: an account of the identity provider now opens yours",
            $"""
            On {at} the operator of this server bound an account of the identity provider to yours: whoever signs in there with it is
            signed in here as you.

            If you did not ask for it, ask the operator, and look through {MailText.Link(publicAddress, "/account")}
            """
        );

    public static MailContent Unbound(MailText by, DateTimeOffset at, PublicAddress publicAddress) => new(
        $"Pakhouse: the identity provider no longer opens your account",
        $"""
        On {at} {by} unbound the account of the identity provider from yours, and ended the sessions that began with it. Keys go on.

        If you did not ask for it, ask the operator, and look through {MailText.Link(publicAddress, "/account")}
        """);

    /// <summary>
    /// Carries the code. It names who sent it, because whoever opens it without expecting it can be led into connecting the wrong account.
    /// </summary>
    public static MailContent Connect(
        MailText by,
        string organization,
        string provider,
        string code,
        TimeSpan lifetime,
        PublicAddress publicAddress
    ) =>
        new(
            $"Pakhouse: connect your account with {provider}",
            $"""
            {by}, an owner of {organization}, sends you this link, so that you can sign in at {MailText.Server(
                publicAddress
            )} with {provider}. It works once, within {lifetime}:

            {MailText.Link(publicAddress, $"{ProviderConnections.Path}?code={code}")}

            Open it yourself, and sign in at {provider} with your own account. From then on, whoever has that account is
            signed in here as you.

            If you did not ask for it, do nothing: without the link nothing changes.
            """
        );

    public static MailContent Connected(string provider, IPAddress? address, DateTimeOffset at, PublicAddress publicAddress) =>
        new(
            $"Pakhouse: {provider} now opens your account",
            $"""
            On {at} your account was connected with an account of {provider}, by the link in a mail to you, from the address
            {address}. Whoever signs in there with that account is signed in here as you.

            If it was not you: choose "Disconnect" at {MailText.Link(publicAddress, "/account")}, or ask the operator of this server.
            """
        );

    public static MailContent MemberConnected(string name, string email, string provider, DateTimeOffset at) =>
        new(
            $"Pakhouse: {provider} now opens the account of {name}",
            $"""
            On {at} {name} ({email}), a member of an organization of yours, connected their account with an account of
            {provider}, by a link that an owner had sent. From now on they can sign in that way.

            If it is not expected, ask {name}. The operator of this server can undo it (command users unbind).
            """
        );

    public static MailContent Reset(PublicAddress publicAddress, string code, TimeSpan lifetime) => new($"Pakhouse: choose a new password",
        $"""
        Somebody asked for a new password for this address. Choose it here, within {lifetime}; the link works once:

        {MailText.Link(publicAddress, $"/reset-password?code={code}")}

        If it was not you, do nothing: your password stays as it is.
        """);
}
