using System.Data.Common;
using System.Net;
using Dapper;

namespace Pakhouse.Server;

/// <summary>What people are told about their own sign-in: whoever changes it, its owner hears of it.</summary>
internal static class SignInMails
{
    /// <summary>Tells the actor what was just done in their name.</summary>
    public static async Task ChangedAsync(Mails mails, DbTransaction transaction, Actor actor, string what, string then, PublicAddress publicAddress, TimeProvider clock)
    {
        var email = await transaction.Connection!.ExecuteScalarAsync<string>("SELECT email FROM users WHERE id = @UserId", new { actor.UserId }, transaction);
        await mails.EnqueueAsync(transaction, email!, new MailContent($"Pakhouse: {char.ToLowerInvariant(what[0])}{what[1..]}",
            $"""
            {what}: on {clock.GetUtcNow():d MMM yyyy, HH:mm} UTC, from the address {actor.Address?.ToString() ?? "of the server itself"}.

            {then}

            If it was not you: reset your password at {publicAddress.Value}/forgot-password, which ends every session, and look through
            {publicAddress.Value}/account
            """));
    }

    /// <summary>The browser is not named: what it calls itself is the caller's text.</summary>
    public static MailContent NewPlace(string method, IPAddress? address, DateTimeOffset at, PublicAddress publicAddress) => new(
        "Pakhouse: a sign-in from a new place",
        $"""
        Somebody signed in to your account on {at:d MMM yyyy, HH:mm} UTC, by {method}, from the address {address?.ToString() ?? "of the server itself"}.
        You have not signed in from that network in the last {SessionTable.LifetimeMax.Days} days.

        If it was you, do nothing. If it was not you: end the session and look through your ways to sign in at
        {publicAddress.Value}/account

        Then choose another password, which ends every other session: {publicAddress.Value}/forgot-password
        """);

    /// <param name="isBound">Otherwise unbound.</param>
    public static MailContent Subject(bool isBound, DateTimeOffset at, PublicAddress publicAddress) => new(
        isBound ? "Pakhouse: an account of the identity provider now opens yours" : "Pakhouse: the identity provider no longer opens your account",
        $"""
        On {at:d MMM yyyy, HH:mm} UTC the operator of this server {(isBound
            ? "bound an account of the identity provider to yours: whoever signs in there with it is signed in here as you."
            : "unbound the account of the identity provider from yours, and ended the sessions that began with it. Keys go on.")}

        If you did not ask for it, ask the operator, and look through {publicAddress.Value}/account
        """);

    public static MailContent Reset(string address, TimeSpan lifetime) => new("Pakhouse: choose a new password",
        $"""
        Somebody asked for a new password for this address. Choose it here, within {When.Words(lifetime)}; the link works once:

        {address}

        If it was not you, do nothing: your password stays as it is.
        """);
}
