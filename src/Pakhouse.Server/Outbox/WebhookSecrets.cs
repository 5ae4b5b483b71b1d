using Microsoft.AspNetCore.DataProtection;

namespace Pakhouse.Server;

/// <summary>The secrets that webhooks are signed with, as the database holds them: encrypted with the Data Protection keys.</summary>
public sealed class WebhookSecrets(IDataProtectionProvider protection)
{
    private readonly IDataProtector protector = protection.CreateProtector("Pakhouse.Webhooks.v1");

    public byte[] Protect(byte[] secret) => protector.Protect(secret);

    public byte[] Unprotect(byte[] secret) => protector.Unprotect(secret);
}
