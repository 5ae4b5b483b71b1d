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

    /// <param name="isBound">Otherwise unbound.</param>
    public static MailContent Subject(bool isBound, DateTimeOffset at, PublicAddress publicAddress) =>
        new(
            $"Pakhouse: {(isBound ? "an account of the identity provider now opens yours" : "the identity provider no longer opens your "
                + "account")}",
            $"""
        On {at} the operator of this server {(isBound
            ? MailText.Of($"bound an account of the identity provider to yours: whoever signs in there with it is signed in here as you.")
            : MailText.Of($"unbound the account of the identity provider from yours, and ended the sessions that began with it. Keys go "
                + $"on."))}

        If you did not ask for it, ask the operator, and look through {MailText.Link(publicAddress, "/account")}
        """
        );

    public static MailContent Reset(PublicAddress publicAddress, string code, TimeSpan lifetime) => new($"Pakhouse: choose a new password",
        $"""
        Somebody asked for a new password for this address. Choose it here, within {lifetime}; the link works once:

        {MailText.Link(publicAddress, $"/reset-password?code={code}")}

        If it was not you, do nothing: your password stays as it is.
        """);
}
