using Microsoft.AspNetCore.Identity;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Options;

namespace Pakhouse.Server;

/// <summary>
/// The messages between browser and server about a passkey (WebAuthn). The server creates a challenge, sends it in the page, and gets it
/// back signed; its state is in a cookie. A challenge works once.
/// <para>Invariant: the device verified the person (PIN, finger, face), so a passkey counts as both factors. Host and origin are those of
/// the public URL, never of the request.</para>
/// </summary>
public sealed class PasskeyCeremony : IDisposable
{
    /// <summary>The most characters of a browser's response.</summary>
    private const int CredentialLengthMax = 32 * 1024;

    private static readonly Refusal refused = new(
        RefusalCode.InvalidRequest,
        "This passkey could not be used. Load the page again and try again. A removed passkey does not work.",
        "passkey refused"
    );

    private readonly Passkeys passkeys;
    private readonly SignInStateCookies steps;
    private readonly SignInFailures failures;
    private readonly SignInLimit limit;
    private readonly UserManager<User> manager;
    private readonly PasskeyHandler<User> handler;

    public PasskeyCeremony(Passkeys passkeys, PasskeyStore store, SignInStateCookies steps, SignInFailures failures, SignInLimit limit,
        IOptions<IdentityOptions> identity, IOptions<IdentityPasskeyOptions> options)
    {
        (this.passkeys, this.steps, this.failures, this.limit) = (passkeys, steps, failures, limit);
        // The handler takes the store from a UserManager and uses nothing else of it.
        manager = new(store, identity, null!, [], [], null!, new IdentityErrorDescriber(), null!, NullLogger<UserManager<User>>.Instance);
        handler = new(manager, options);
    }

    public static void Configure(IdentityPasskeyOptions options, PublicAddress publicAddress)
    {
        options.ServerDomain = new Uri(publicAddress.Value).Host;
        options.ValidateOrigin = context => ValueTask.FromResult(!context.CrossOrigin && context.Origin == publicAddress.Value);
        options.UserVerificationRequirement = "required";
        options.ResidentKeyRequirement = "required"; // found without typing an address
    }

    /// <summary>The options that the sign-in page passes to the browser.</summary>
    public async Task<string> BeginAssertionAsync(HttpContext context)
    {
        var asked = await handler.MakeRequestOptionsAsync(null, context);
        steps.Set(context, SignInStateCookies.Assertion, asked.AssertionState!);
        return asked.RequestOptionsJson;
    }

    /// <summary>Returns the person who signed the challenge.</summary>
    public async Task<Outcome<User>> CompleteAssertionAsync(HttpContext context, string? credential)
    {
        var address = context.Connection.RemoteIpAddress;
        if (!passkeys.IsOn)
            return PasswordSignIn.ProviderOnly;
        if (limit.Check(address) is { } slowDown)
            return slowDown;
        limit.Count(address);
        var state = steps.Read(context, SignInStateCookies.Assertion);
        steps.Clear(context, SignInStateCookies.Assertion);
        if (state is null || credential is null or { Length: > CredentialLengthMax } || !await steps.ConsumeAsync(state))
            return refused;

        var result = await handler.PerformAssertionAsync(
            new PasskeyAssertionContext
            {
                HttpContext = context,
                CredentialJson = credential,
                AssertionState = state,
            }
        );
        if (
            !result.Succeeded
            || result.User.DisabledAt is not null
            || !result.Passkey.IsUserVerified
            || !await passkeys.NoteUseAsync(result.Passkey)
        )
        {
            await failures.RecordAsync(null, address, SignInMethod.Passkey);
            return refused with { Reason = result.Failure?.Message ?? "passkey of a disabled user, or a copy of one" };
        }

        limit.TakeBack(address);
        return result.User;
    }

    /// <summary>The options that the page for a new passkey passes to the browser.</summary>
    public async Task<string> BeginRegistrationAsync(HttpContext context, Session session)
    {
        var offered = await handler.MakeCreationOptionsAsync(
            new PasskeyUserEntity
            {
                Id = session.UserId.ToString(),
                Name = session.Email,
                DisplayName = session.Name,
            },
            context
        );
        steps.Set(context, SignInStateCookies.Attestation, offered.AttestationState!);
        return offered.CreationOptionsJson;
    }

    /// <summary>Adds the passkey that the browser created.</summary>
    public async Task<Outcome<bool>> CompleteRegistrationAsync(HttpContext context, Session session, string name, string? credential)
    {
        if (!passkeys.IsOn)
            return PasswordSignIn.ProviderOnly;
        if (Checks.Name(name, "name", Passkeys.NameLengthMax, out name) is { } badName)
            return badName;
        var state = steps.Read(context, SignInStateCookies.Attestation);
        steps.Clear(context, SignInStateCookies.Attestation);
        if (state is null || credential is null or { Length: > CredentialLengthMax } || !await steps.ConsumeAsync(state))
            return refused;
        var result = await handler.PerformAttestationAsync(
            new PasskeyAttestationContext
            {
                HttpContext = context,
                CredentialJson = credential,
                AttestationState = state,
            }
        );
        if (!result.Succeeded || !result.Passkey.IsUserVerified)
            return refused with { Reason = result.Failure?.Message ?? "user not verified" };
        // The challenge was created for one person; the session may belong to another by now.
        if (result.UserEntity.Id != session.UserId.ToString())
            return refused with { Reason = "challenge of another person" };
        return await passkeys.AddAsync(SessionCookie.Actor(context), name, result.Passkey);
    }

    public void Dispose() => manager.Dispose();
}
