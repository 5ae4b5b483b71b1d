using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.Mvc.RazorPages;

namespace Pakhouse.Server;

/// <summary>The one-time URL of the first start: creates the first user and the organization that they own.</summary>
public sealed class SetUpModel(SetUp setUp, Organizations organizations, PakhouseOptions options) : PageModel
{
    [BindProperty(SupportsGet = true)]
    public string? Code { get; set; }

    [BindProperty]
    public string? OrganizationName { get; set; }

    [BindProperty]
    public string? UserName { get; set; }

    [BindProperty]
    public string? Email { get; set; }

    [BindProperty]
    public string? Password { get; set; }

    public int PasswordLengthMin => options.PasswordLengthMin;

    public FieldErrors Errors { get; } = new();

    public async Task<IActionResult> OnGetAsync() => await setUp.IsValidAsync(Code ?? "") ? Page() : this.Refuse(SetUp.CodeRefused);

    public async Task<IActionResult> OnPostAsync()
    {
        // Checked here because the operation calls both names "name".
        if (Checks.Name(OrganizationName, "organization", Organizations.NameLengthMax, out _) is { } badName)
            Errors.Add(badName, ("organization", "organization", "Organization name"));
        if (Checks.Name(UserName, "name", Users.NameLengthMax, out _) is { } badUserName)
            Errors.Add(badUserName, ("name", "name", "Your name"));
        if (Errors.Any)
            return await AgainAsync();

        var completed = await setUp.CompleteAsync(Code ?? "", OrganizationName!, UserName!, Email ?? "", Password ?? "");
        if (completed.Refusal is { } refusal)
        {
            if (refusal == SetUp.CodeRefused)
                return this.Refuse(refusal);
            Errors.Add(refusal, ("email", "email", "E-mail address"), ("password", "password", "Password"));
            return await AgainAsync();
        }

        await SessionCookie.BeginAsync(HttpContext, completed.Value, SignInMethod.SetUp);
        return this.SeeOther(Links.Security((await organizations.ListAsync(Actor.Session(completed.Value.Id)))[0].Id));
    }

    private async Task<IActionResult> AgainAsync()
    {
        if (!await setUp.IsValidAsync(Code ?? "")) return this.Refuse(SetUp.CodeRefused);
        Response.StatusCode = StatusCodes.Status400BadRequest;
        return Page();
    }
}
