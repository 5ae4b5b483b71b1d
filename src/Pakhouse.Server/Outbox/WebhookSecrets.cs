using Microsoft.AspNetCore.DataProtection;

namespace Pakhouse.Server;

/// <summary>The signing secrets of webhooks in the database, encrypted with the Data Protection keys.</summary>
public sealed class WebhookSecrets(IDataProtectionProvider protection)
{
    /// <summary>The Data Protection purpose of stored secrets. The command <c>protection-keys renew</c> encrypts them again.</summary>
    internal const string Purpose = "Pakhouse.Webhooks.v1";

    private readonly IDataProtector protector = protection.CreateProtector(Purpose);

    public byte[] Protect(byte[] secret) => protector.Protect(secret);

    public byte[] Unprotect(byte[] secret) => protector.Unprotect(secret);
}
