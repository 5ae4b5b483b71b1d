using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.Mvc.Filters;
using Microsoft.AspNetCore.Mvc.RazorPages;

namespace Pakhouse.Server;

/// <summary>
/// 405 for a page without a handler for the request's method, and 415 for a body that is not a form. Without this filter the framework
/// renders such a page without a handler, and so without an access check. It runs before every other filter: before the antiforgery check,
/// and before anything is bound or rendered.
/// </summary>
internal sealed class PageMethods : IAuthorizationFilter, IAsyncPageFilter, IOrderedFilter
{
    public int Order => int.MinValue;

    public void OnAuthorization(AuthorizationFilterContext context)
    {
        var page = (CompiledPageActionDescriptor)context.ActionDescriptor;
        if (!Methods(page).Contains(context.HttpContext.Request.Method, StringComparer.OrdinalIgnoreCase))
            context.Result = NotAllowed(context.HttpContext, page);
        // The antiforgery token can come in a header, and then no handler would find its form.
        else if (HttpMethods.IsPost(context.HttpContext.Request.Method) && !context.HttpContext.Request.HasFormContentType)
            context.Result = new UnsupportedMediaTypeResult();
    }

    /// <summary>The method has handlers, but none with the name in <c>?handler=</c>.</summary>
    public Task OnPageHandlerExecutionAsync(PageHandlerExecutingContext context, PageHandlerExecutionDelegate next)
    {
        if (context.HandlerMethod is not null)
            return next();
        context.Result = NotAllowed(context.HttpContext, context.ActionDescriptor);
        return Task.CompletedTask;
    }

    public Task OnPageHandlerSelectionAsync(PageHandlerSelectedContext context) => Task.CompletedTask;

    /// <summary>The handler of GET answers HEAD.</summary>
    private static IEnumerable<string> Methods(CompiledPageActionDescriptor page) =>
        page
            .HandlerMethods.Select(handler => handler.HttpMethod.ToUpperInvariant())
            .SelectMany(method => method == "GET" ? (string[])["GET", "HEAD"] : [method])
            .Distinct(StringComparer.Ordinal);

    private static StatusCodeResult NotAllowed(HttpContext context, CompiledPageActionDescriptor page)
    {
        context.Response.Headers.Allow = string.Join(", ", Methods(page));
        return new StatusCodeResult(StatusCodes.Status405MethodNotAllowed); // UseStatusAnswers writes the text
    }
}
