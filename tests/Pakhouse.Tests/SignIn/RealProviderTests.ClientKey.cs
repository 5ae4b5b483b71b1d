using System.Security.Cryptography;

namespace Pakhouse.Tests;

public static partial class RealProviderTests
{
    public class ClientKey
    {
        [Theory, InlineData("ES256", "issuer", false), InlineData("RS256", "issuer", true), InlineData("ES256", "token-endpoint", true)]
        public async Task A_key_proves_this_server_to_the_provider_which_reads_it_at_our_address(
            string algorithm,
            string audience,
            bool pushes
        )
        {
            var file = Path.Combine(Path.GetTempPath(), $"pakhouse-{KeyFormat.NewId()}.pem");
            await File.WriteAllTextAsync(file, Pem(algorithm));
            try
            {
                await using var provider = await NodeProvider.StartAsync();
                await using var server = await StartAsync(
                    provider,
                    "--Pakhouse:OidcClientSecret=",
                    $"--Pakhouse:OidcClientKeyFile={file}",
                    $"--Pakhouse:OidcClientKeyAudience={audience}"
                );
                await provider.SetAsync(
                    new
                    {
                        par = pushes,
                        client = new
                        {
                            redirect_uris = new[] { $"{server.Address}/sign-in/provider/callback" },
                            jwks_uri = $"{server.Address}/sign-in/provider/jwks.json",
                            token_endpoint_auth_method = "private_key_jwt",
                            token_endpoint_auth_signing_alg = algorithm,
                        },
                    }
                );
                await AssertSignsInAsync(server, provider);
                await AssertSignsInAsync(server, provider); // each proof has an id of its own
                var shown = await server.Http.GetStringAsync("/sign-in/provider/jwks.json");
                foreach (var secret in (string[])["\"d\"", "\"p\"", "\"q\"", "\"k\""])
                    Assert.DoesNotContain(secret, shown);

                // The control: another key than the registered one opens nothing.
                await provider.SetAsync(
                    new
                    {
                        client = new
                        {
                            redirect_uris = new[] { $"{server.Address}/sign-in/provider/callback" },
                            jwks_uri = $"{provider.Address}/jwks",
                            token_endpoint_auth_method = "private_key_jwt",
                            token_endpoint_auth_signing_alg = algorithm,
                        },
                    }
                );
                Assert.NotEqual(
                    System.Net.HttpStatusCode.OK,
                    (await (await SignInAsync(server, provider)).Visitor.GetAsync("/account")).Status
                );
            }
            finally
            {
                File.Delete(file);
            }
        }

        [
            Theory,
            InlineData("missing"),
            InlineData("a public key"),
            InlineData("P-384"),
            InlineData("RSA 1024"),
            InlineData("noise"),
            InlineData("a folder")
        ]
        public void A_file_without_a_usable_key_is_one_line_at_the_start(string what)
        {
            var file = Path.Combine(Path.GetTempPath(), $"pakhouse-{KeyFormat.NewId()}.pem");
            using var ec = ECDsa.Create(what == "P-384" ? ECCurve.NamedCurves.nistP384 : ECCurve.NamedCurves.nistP256);
            using var rsa = RSA.Create(1024);
            var text = what switch
            {
                "a public key" => ec.ExportSubjectPublicKeyInfoPem(),
                "P-384" => ec.ExportPkcs8PrivateKeyPem(),
                "RSA 1024" => rsa.ExportPkcs8PrivateKeyPem(),
                _ => "noise",
            };
            if (what == "a folder")
                Directory.CreateDirectory(file);
            else if (what != "missing")
                File.WriteAllText(file, text);
            var faults = Faults($"--Pakhouse:OidcClientKeyFile={file}");
            if (what == "a folder")
                Directory.Delete(file);
            else
                File.Delete(file);
            Assert.Contains("Pakhouse:OidcClientKeyFile must be a readable PEM file", faults);
            Assert.DoesNotContain("PRIVATE KEY", faults);
        }

        [Fact]
        public void A_key_and_a_secret_are_not_both_taken_nor_an_authority_for_many_tenants()
        {
            var file = Path.Combine(Path.GetTempPath(), $"pakhouse-{KeyFormat.NewId()}.pem");
            File.WriteAllText(file, Pem("ES256"));
            var both = Faults($"--Pakhouse:OidcClientKeyFile={file}", "--Pakhouse:OidcClientSecret=secret");
            File.Delete(file);
            Assert.Contains("instead of OidcClientSecret", both);
            foreach (var tenant in (string[])["common", "organizations", "Consumers", "{tenantid}"])
                Assert.Contains(
                    "the issuer of one tenant",
                    Faults($"--Pakhouse:OidcAuthority=https://login.microsoftonline.com/{tenant}/v2.0")
                );
        }

        private static string Faults(params string[] settings) =>
            Assert
                .Throws<StartupException>(() =>
                    PakhouseOptions.Read(
                        Server.Program.Configuration([
                            "--Pakhouse:OidcAuthority=https://idp.example",
                            "--Pakhouse:OidcClientId=pakhouse",
                            .. settings,
                        ])
                    )
                )
                .Message;

        private static string Pem(string algorithm)
        {
            using var ec = ECDsa.Create(ECCurve.NamedCurves.nistP256);
            using var rsa = RSA.Create(2048);
            return algorithm == "ES256" ? ec.ExportECPrivateKeyPem() : rsa.ExportRSAPrivateKeyPem();
        }
    }
}
