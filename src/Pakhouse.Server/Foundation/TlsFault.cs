using System.Net.Security;
using System.Security.Authentication;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace Pakhouse.Server;

/// <summary>Which check a certificate failed, in words that say what to do. They hold nothing of the certificate.</summary>
internal static class TlsFault
{
    public const string Protocol = "TLS could not be agreed on: the other side speaks no TLS here, or no version that this server accepts";

    /// <returns>Null: the certificate is good.</returns>
    public static string? Of(X509Chain? chain, SslPolicyErrors errors)
    {
        if (errors == SslPolicyErrors.None)
            return null;
        if (errors.HasFlag(SslPolicyErrors.RemoteCertificateNotAvailable))
            return "the other side showed no certificate";
        var status =
            chain?.ChainStatus.Aggregate(X509ChainStatusFlags.NoError, (all, one) => all | one.Status) ?? X509ChainStatusFlags.NoError;
        List<string> faults = [];
        if (status.HasFlag(X509ChainStatusFlags.Revoked))
            faults.Add("the certificate was revoked");
        if (status.HasFlag(X509ChainStatusFlags.UntrustedRoot) || status.HasFlag(X509ChainStatusFlags.PartialChain))
            faults.Add(
                "the certificate is untrusted: no authority that this server trusts has signed it, or the other side does not send the "
                    + "whole chain"
            );
        if (status.HasFlag(X509ChainStatusFlags.NotTimeValid))
            faults.Add("the certificate has expired or is not valid yet");
        if (errors.HasFlag(SslPolicyErrors.RemoteCertificateNameMismatch))
            faults.Add("the certificate is for another name");
        if (faults.Count == 0)
            faults.Add($"the certificate is not usable ({status})");
        return string.Join("; ", faults);
    }

    /// <summary>As the system judges, or by further authorities. Revocation is not checked: a host that may not reach the lists of its
    /// authority would send nothing.</summary>
    public static string? Of(X509Certificate? certificate, X509Chain? chain, SslPolicyErrors errors, X509Certificate2Collection authorities)
    {
        if (Of(chain, errors) is not { } fault)
            return null;
        if (
            authorities.Count == 0
            || !errors.HasFlag(SslPolicyErrors.RemoteCertificateChainErrors)
            || certificate is not X509Certificate2 leaf
        )
            return fault;
        using var own = new X509Chain();
        own.ChainPolicy.TrustMode = X509ChainTrustMode.CustomRootTrust;
        own.ChainPolicy.CustomTrustStore.AddRange(authorities);
        own.ChainPolicy.RevocationMode = X509RevocationMode.NoCheck;
        own.ChainPolicy.ApplicationPolicy.Add(new Oid("1.3.6.1.5.5.7.3.1")); // serverAuth, RFC 5280 §4.2.1.12
        if (chain is not null)
            own.ChainPolicy.ExtraStore.AddRange(chain.ChainElements.Select(one => one.Certificate).ToArray());
        if (chain is not null)
            own.ChainPolicy.ExtraStore.AddRange(chain.ChainPolicy.ExtraStore); // what the other side sent
        return Of(own, own.Build(leaf) ? errors & ~SslPolicyErrors.RemoteCertificateChainErrors : errors);
    }

    /// <summary>For a client that can be told by an exception only.</summary>
    public static bool Accept(object sender, X509Certificate? certificate, X509Chain? chain, SslPolicyErrors errors) =>
        Of(chain, errors) is { } fault ? throw new TlsFaultException(fault) : true;

    /// <summary>The message is what <see cref="Of(X509Chain?, SslPolicyErrors)"/> says.</summary>
    internal sealed class TlsFaultException(string message) : AuthenticationException(message);
}
