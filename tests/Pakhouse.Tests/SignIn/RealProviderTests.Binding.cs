using System.Net;

namespace Pakhouse.Tests;

public static partial class RealProviderTests
{
    public class Binding
    {
        [Theory, InlineData(null), InlineData(false)]
        public async Task A_bound_subject_signs_in_whatever_the_provider_says_of_the_address_until_it_is_unbound(bool? isVerified)
        {
            await using var provider = await NodeProvider.StartAsync();
            await using var server = await StartAsync(provider);
            await RegisterAsync(server, provider, new() { ["emailVerified"] = isVerified!, ["email"] = "changed@acme.example" });
            var refused = (await SignInAsync(server, provider)).Answer;
            Assert.Equal(HttpStatusCode.Forbidden, refused.Status);
            Assert.Equal(isVerified is null, refused.Body.Contains("users bind")); // and the page names what to bind
            Assert.Equal(isVerified is null, refused.Body.Contains("Its subject is subject-1"));

            var subjects = server.Get<ProviderSubjects>();
            const string email = "person1@acme.example";
            var owner = Guid.Parse((await server.ScalarAsync<string>("SELECT id FROM users WHERE email = 'person1@acme.example'"))!);
            Assert.Equal(
                RefusalCode.AccessDenied,
                (await subjects.BindAsync(Actor.Session(owner), email, provider.Address, "subject-1")).Refusal!.Code
            );
            Assert.Null((await subjects.BindAsync(Actor.Operator, email, provider.Address, "subject-1")).Refusal);
            await AssertSignsInAsync(server, provider);
            Assert.Equal(
                RefusalCode.Conflict,
                (await subjects.BindAsync(Actor.Operator, email, provider.Address, "subject-2")).Refusal!.Code
            );

            var (visitor, _) = await SignInAsync(server, provider);
            Assert.Null((await subjects.UnbindAsync(Actor.Operator, email)).Refusal);
            Assert.False(await IsSignedInAsync(visitor));
            Assert.Equal(HttpStatusCode.Forbidden, (await SignInAsync(server, provider)).Answer.Status);
            Assert.Equal(RefusalCode.NotFound, (await subjects.UnbindAsync(Actor.Operator, email)).Refusal!.Code);
            var told = (await server.MailsToAsync(email)).Select(mail => mail.Subject).ToList();
            Assert.Contains("Pakhouse: an account of the identity provider now opens yours", told);
            Assert.Contains("Pakhouse: the identity provider no longer opens your account", told);
            foreach (var action in (string[])["Provider Bind", "Provider Unbind"])
                Assert.Equal(
                    1,
                    await server.ScalarAsync<long>(
                        $"SELECT COUNT(*) FROM activity WHERE action = '{action}' AND subject_user_id = '{owner}'"
                    )
                );
        }

        [Fact]
        public async Task Nobody_is_bound_to_what_is_no_subject_or_is_somebody_elses()
        {
            await using var server = await TestServer.StartAsync();
            await server.AddUserAsync();
            await server.AddUserAsync();
            var subjects = server.Get<ProviderSubjects>();
            foreach (var subject in (string[])["", new string('s', 256), "a\nb"])
                Assert.Equal(
                    RefusalCode.InvalidRequest,
                    (await subjects.BindAsync(Actor.Operator, "person1@acme.example", "https://idp.example", subject)).Refusal!.Code
                );
            Assert.Equal(
                RefusalCode.InvalidRequest,
                (await subjects.BindAsync(Actor.Operator, "person1@acme.example", "idp", "s")).Refusal!.Code
            );
            Assert.Equal(
                RefusalCode.NotFound,
                (await subjects.BindAsync(Actor.Operator, "nobody@acme.example", "https://idp.example", "s")).Refusal!.Code
            );
            Assert.Null((await subjects.BindAsync(Actor.Operator, "person1@acme.example", "https://idp.example", "s")).Refusal);
            Assert.Equal(
                RefusalCode.Conflict,
                (await subjects.BindAsync(Actor.Operator, "person2@acme.example", "https://idp.example", "s")).Refusal!.Code
            );
        }
    }
}
