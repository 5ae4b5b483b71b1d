using System.Globalization;
using System.Reflection;
using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.Mvc.Filters;
using Microsoft.AspNetCore.Mvc.RazorPages;
using Microsoft.AspNetCore.WebUtilities;

namespace Pakhouse.Server;

/// <summary>
/// When an operation is refused because the sign-in is too old, the person is asked to confirm it and then returns to the form as it was
/// filled in. <see cref="Permissions"/> alone defines which operations require this; pages only show refusals, as they always do.
/// <para>Invariant: nothing is sent in the person's name. The form is only filled in again, and the person sends it.</para>
/// </summary>
internal sealed class FreshSignIn : IAsyncPageFilter
{
    /// <summary>In the return URL. It says that there may be a form, and contains nothing of it.</summary>
    private const string Mark = "kept";

    public async Task OnPageHandlerExecutionAsync(PageHandlerExecutingContext context, PageHandlerExecutionDelegate next)
    {
        var done = await next();
        if (context.HandlerInstance is not OrganizationPage page || done.Exception is not null)
            return;
        if (page.Errors.NeedsSignIn || context.HttpContext.Features.Get<Refusal>()?.Code == RefusalCode.SignInNotFresh)
            done.Result = await AskAsync(page);
        else if (done.Result is PageResult or null && await TakeAsync(page) is { } form)
            await page.RefillAsync(form);
    }

    public Task OnPageHandlerSelectionAsync(PageHandlerSelectedContext context) => Task.CompletedTask;

    /// <summary>Redirects to the confirmation, and keeps the form if there is one.</summary>
    public static async Task<IActionResult> AskAsync(OrganizationPage page)
    {
        var request = page.Request;
        var path = request.Path.ToString();
        page.HttpContext.Features.Set<Refusal>(null);
        page.Response.StatusCode = StatusCodes.Status200OK;
        if (HttpMethods.IsPost(request.Method) && SessionCookie.Of(page.HttpContext) is { } session)
        {
            await Forms(page).KeepAsync(session.Id, path, request.Form);
            path += $"?{Mark}=true";
        }

        return page.SeeOther(QueryHelpers.AddQueryString($"{AccountPage.Home}/confirm", "from", path));
    }

    /// <summary>Returns the form kept for this page and session, once.</summary>
    private static async Task<IReadOnlyDictionary<string, string[]>?> TakeAsync(OrganizationPage page) =>
        HttpMethods.IsGet(page.Request.Method) && page.Request.Query.ContainsKey(Mark) && SessionCookie.Of(page.HttpContext) is { } session
            ? await Forms(page).TakeAsync(session.Id, page.Request.Path) : null;

    /// <summary>Sets the sent values, but only properties that a form of this page can set.</summary>
    public static void Fill(OrganizationPage page, IReadOnlyDictionary<string, string[]> form)
    {
        foreach (var property in page.GetType().GetProperties().Where(property => property.IsDefined(typeof(BindPropertyAttribute))))
        {
            if (!form.TryGetValue(property.Name, out var values))
                continue;
            var type = Nullable.GetUnderlyingType(property.PropertyType) ?? property.PropertyType;
            object? value =
                type == typeof(string) ? values[0]
                : type == typeof(IReadOnlyList<string>) ? values
                : type == typeof(IReadOnlyList<Guid>)
                    ? values.Select(text => Guid.TryParse(text, out var id) ? id : Guid.Empty).Where(id => id != Guid.Empty).ToList()
                : type == typeof(int) && int.TryParse(values[0], CultureInfo.InvariantCulture, out var number) ? number
                : type == typeof(long) && long.TryParse(values[0], CultureInfo.InvariantCulture, out var large) ? large
                : type == typeof(bool) && bool.TryParse(values[0], out var flag) ? flag
                : null;
            if (value is not null)
                property.SetValue(page, value);
        }

        page.ViewData["Kept"] = true;
    }

    private static KeptForms Forms(OrganizationPage page) => page.HttpContext.RequestServices.GetRequiredService<KeptForms>();
}
