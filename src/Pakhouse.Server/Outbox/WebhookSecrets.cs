using Microsoft.AspNetCore.DataProtection;

namespace Pakhouse.Server;

/// <summary>The secrets that webhooks are signed with, as the database holds them: encrypted with the Data Protection keys.</summary>
public sealed class WebhookSecrets(IDataProtectionProvider protection)
{
    /// <summary>Of what is stored encrypted. The command <c>protection-keys renew</c> encrypts it anew.</summary>
    internal const string Purpose = "Pakhouse.Webhooks.v1";

    private readonly IDataProtector protector = protection.CreateProtector(Purpose);

    public byte[] Protect(byte[] secret) => protector.Protect(secret);

    public byte[] Unprotect(byte[] secret) => protector.Unprotect(secret);
}
