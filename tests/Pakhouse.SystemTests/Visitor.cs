using System.Net;
using System.Text.RegularExpressions;

namespace Pakhouse.SystemTests;

/// <summary>
/// A person's browser without the browser: cookies, forms and what the wire carries. Cookies are kept whatever their flags, so
/// that those meant for HTTPS can be seen over the loopback.
/// </summary>
internal sealed partial class Visitor(HttpClient http)
{
    public const string Token = "__RequestVerificationToken";

    public Visitor(RunningServer server)
        : this(server.Http) { }

    public Dictionary<string, string> Cookies { get; } = new(StringComparer.Ordinal);

    public static Task<Visitor> SignInAsync(RunningServer server, Person person) => SignInAsync(server.Http, person);

    public static async Task<Visitor> SignInAsync(HttpClient http, Person person)
    {
        var visitor = new Visitor(http);
        var page = await visitor.GetAsync("/sign-in");
        var answer = await visitor.SendAsync(page, "/sign-in", ("Email", person.Email), ("Password", Seed.Password));
        Assert.Equal(303, answer.Status);
        return visitor;
    }

    /// <summary>The same browser, with its cookies, at another process.</summary>
    public Visitor At(RunningServer other)
    {
        var visitor = new Visitor(other);
        foreach (var (name, value) in Cookies)
            visitor.Cookies[name] = value;
        return visitor;
    }

    public static string SecurityUrl(Guid organization) => $"/organizations/{organization}/security";

    public Task<Answer> GetAsync(string path) => SendAsync(HttpMethod.Get, path, null);

    /// <summary>Sends the form of a page that goes to <paramref name="action"/>, with its hidden fields.</summary>
    public Task<Answer> SendAsync(Answer page, string action, params (string Name, string Value)[] fields)
    {
        var form = Assert.Single(Forms(page), form => form.Action.Split('#')[0] == action);
        return PostAsync(action, [.. form.Hidden, .. fields]);
    }

    public Task<Answer> PostAsync(string path, params (string Name, string Value)[] fields) =>
        SendAsync(HttpMethod.Post, path, new FormUrlEncodedContent(fields.Select(field => KeyValuePair.Create(field.Name, field.Value))));

    /// <summary>Generates a key by the page's form.</summary>
    public async Task<string> GenerateAsync(Guid organization, string name = "Key 1")
    {
        var page = await GetAsync(SecurityUrl(organization));
        var answer = await SendAsync(
            page,
            SecurityUrl(organization),
            ("Name", name),
            ("Expires", "never"),
            ("Scopes", "openid"),
            ("Scopes", "profile"),
            ("Scopes", "email")
        );
        Assert.Equal(200, answer.Status);
        return Shown().Match(answer.Body).Groups["key"].Value;
    }

    public async Task DeleteAsync(Guid organization, string keyId)
    {
        var path = $"{SecurityUrl(organization)}/keys/{keyId}/delete";
        var answer = await SendAsync(await GetAsync(path), path);
        Assert.Equal(303, answer.Status);
    }

    /// <summary>Every form that posts.</summary>
    public static List<(string Action, List<(string Name, string Value)> Hidden)> Forms(Answer page) =>
        [
            .. Form()
                .Matches(page.Body)
                .Where(form => form.Value.Contains("method=\"post\"", StringComparison.Ordinal))
                .Select(form =>
                    (
                        WebUtility.HtmlDecode(Attribute(form.Value[..form.Value.IndexOf('>', StringComparison.Ordinal)], "action")),
                        HiddenInput()
                            .Matches(form.Value)
                            .Select(input => (Attribute(input.Value, "name"), WebUtility.HtmlDecode(Attribute(input.Value, "value"))))
                            .ToList()
                    )
                ),
        ];

    private async Task<Answer> SendAsync(HttpMethod method, string path, HttpContent? content)
    {
        using var request = new HttpRequestMessage(method, new Uri(path, UriKind.Relative)) { Content = content };
        request.Headers.Add("Accept", "text/html");
        if (Cookies.Count > 0)
            request.Headers.Add("Cookie", string.Join("; ", Cookies.Select(cookie => $"{cookie.Key}={cookie.Value}")));
        var answer = await Answer.OfAsync(await http.SendAsync(request));
        foreach (var cookie in SetCookies(answer))
        {
            var pair = cookie.Split(';')[0].Split('=', 2);
            if (pair[1].Length == 0)
                Cookies.Remove(pair[0]);
            else
                Cookies[pair[0]] = pair[1];
        }

        return answer;
    }

    public static IEnumerable<string> SetCookies(Answer answer) =>
        answer.Response.Headers.TryGetValues("Set-Cookie", out var values) ? values : [];

    private static string Attribute(string tag, string name)
    {
        var start = tag.IndexOf($" {name}=\"", StringComparison.Ordinal);
        if (start < 0)
            return "";
        start += name.Length + 3;
        return tag[start..tag.IndexOf('"', start)];
    }

    [GeneratedRegex("<form .*?</form>", RegexOptions.Singleline | RegexOptions.ExplicitCapture, 1000)]
    private static partial Regex Form();

    [GeneratedRegex("<input [^>]*type=\"hidden\"[^>]*>", RegexOptions.ExplicitCapture, 1000)]
    private static partial Regex HiddenInput();

    [GeneratedRegex("data-testid=\"new-key\">(?<key>[^<]+)<", RegexOptions.ExplicitCapture, 1000)]
    private static partial Regex Shown();
}
