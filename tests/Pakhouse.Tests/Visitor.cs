using System.Net;
using System.Text.RegularExpressions;

namespace Pakhouse.Tests;

/// <summary>A person's browser without the browser: it keeps cookies, and sends the forms that pages hold.</summary>
public sealed partial class Visitor(TestServer server)
{
    public IDictionary<string, string> Cookies { get; init; } = new Dictionary<string, string>(StringComparer.Ordinal);

    /// <summary>Sent with every request.</summary>
    public string UserAgent { get; init; } = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";

    /// <summary>As somebody who copied the cookies.</summary>
    public Visitor Copy() => new(server) { Cookies = new Dictionary<string, string>(Cookies, StringComparer.Ordinal) };

    public static async Task<Visitor> SignInAsync(TestServer server, string email, string password = TestServer.Password)
    {
        var visitor = new Visitor(server);
        var answer = await visitor.SubmitAsync("/sign-in", ("Email", email), ("Password", password));
        Assert.Equal(HttpStatusCode.SeeOther, answer.Status);
        return visitor;
    }

    public Task<Answer> GetAsync(string path) => SendAsync(HttpMethod.Get, path, null);

    /// <summary>Opens a page and sends its form: the one that posts to the page's own path, or to <paramref name="action"/>.</summary>
    public Task<Answer> SubmitAsync(string page, params (string Name, string Value)[] fields) =>
        SubmitToAsync(page, page.Split('?')[0], fields);

    public async Task<Answer> SubmitToAsync(string page, string action, params (string Name, string Value)[] fields)
    {
        var opened = await GetAsync(page);
        Assert.True(opened.Status == HttpStatusCode.OK, $"{page}: {opened.Status} {opened.Header("Location")}");
        return await PostAsync(action, [.. Hidden(opened, action), .. fields]);
    }

    public Task<Answer> PostAsync(string path, params (string Name, string Value)[] fields) =>
        SendAsync(HttpMethod.Post, path, new FormUrlEncodedContent(fields.Select(field => KeyValuePair.Create(field.Name, field.Value))));

    public Task<Answer> PostAsync(string path, HttpContent content) => SendAsync(HttpMethod.Post, path, content);

    /// <summary>The hidden fields of the first form that posts to an address.</summary>
    public static IEnumerable<(string Name, string Value)> Hidden(Answer page, string action) =>
        HiddenInput()
            .Matches(
                Form()
                    .Matches(page.Body)
                    .First(form => form.Value.Contains("method=\"post\"") && form.Value.Contains($"action=\"{action}\""))
                    .Value
            )
            .Select(input => (Attribute(input.Value, "name"), Attribute(input.Value, "value")));

    private async Task<Answer> SendAsync(HttpMethod method, string path, HttpContent? content)
    {
        using var request = new HttpRequestMessage(method, new Uri(path, UriKind.RelativeOrAbsolute)) { Content = content };
        request.Headers.Add("Accept", "text/html");
        request.Headers.TryAddWithoutValidation("User-Agent", UserAgent);
        if (Cookies.Count > 0)
            request.Headers.Add("Cookie", string.Join("; ", Cookies.Select(cookie => $"{cookie.Key}={cookie.Value}")));
        var answer = await Answer.OfAsync(await server.Http.SendAsync(request));
        foreach (var cookie in answer.Response.Headers.TryGetValues("Set-Cookie", out var set) ? set : [])
        {
            var pair = cookie.Split(';')[0].Split('=', 2);
            if (pair[1].Length == 0)
                Cookies.Remove(pair[0]);
            else
                Cookies[pair[0]] = pair[1];
        }

        return answer;
    }

    private static string Attribute(string tag, string name) =>
        WebUtility.HtmlDecode(
            Regex.Match(tag, $" {name}=\"(?<value>[^\"]*)\"", RegexOptions.ExplicitCapture, TimeSpan.FromSeconds(1)).Groups["value"].Value
        );

    [GeneratedRegex("<form .*?</form>", RegexOptions.Singleline | RegexOptions.ExplicitCapture, 1000)]
    private static partial Regex Form();

    [GeneratedRegex("<input [^>]*type=\"hidden\"[^>]*>", RegexOptions.ExplicitCapture, 1000)]
    private static partial Regex HiddenInput();
}
