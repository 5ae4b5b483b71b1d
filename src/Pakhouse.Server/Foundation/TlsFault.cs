using System.Net.Security;
using System.Security.Authentication;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace Pakhouse.Server;

/// <summary>Which check of a certificate failed, and what to do. The text contains nothing of the certificate.</summary>
internal static class TlsFault
{
    public const string Protocol = "TLS negotiation failed: the other side does not use TLS, or no version that this server accepts";

    /// <returns>Null: the certificate is valid.</returns>
    public static string? Of(X509Chain? chain, SslPolicyErrors errors)
    {
        if (errors == SslPolicyErrors.None)
            return null;
        if (errors.HasFlag(SslPolicyErrors.RemoteCertificateNotAvailable))
            return "the other side sent no certificate";
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

    /// <summary>Uses the system's trust or further authorities. Revocation is not checked: a host that cannot reach its authority's lists
    /// could send nothing.</summary>
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
            own.ChainPolicy.ExtraStore.AddRange(chain.ChainPolicy.ExtraStore); // the certificates that the other side sent
        return Of(own, own.Build(leaf) ? errors & ~SslPolicyErrors.RemoteCertificateChainErrors : errors);
    }

    /// <summary>For a client that only accepts an exception.</summary>
    public static bool Accept(object sender, X509Certificate? certificate, X509Chain? chain, SslPolicyErrors errors) =>
        Of(chain, errors) is { } fault ? throw new TlsFaultException(fault) : true;

    /// <summary>The message is the text of <see cref="Of(X509Chain?, SslPolicyErrors)"/>.</summary>
    internal sealed class TlsFaultException(string message) : AuthenticationException(message);
}
