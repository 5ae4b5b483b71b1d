using System.Security.Claims;
using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.Mvc.RazorPages;

namespace Pakhouse.Server;

/// <summary>
/// The page of an invitation's link. Opening it changes nothing, because programs that check links open it too. What the page offers
/// depends on the person who opens it, and <see cref="InvitationAnswers"/> decides again at the action.
/// </summary>
public sealed class AcceptInvitationModel(InvitationAnswers answers, PakhouseOptions options) : PageModel
{
    public enum Visitor
    {
        TheInvited,
        SomebodyElse,
        ToSignIn,
        ToSignUp,
    }

    [FromRoute]
    public string Code { get; set; } = "";

    [BindProperty]
    public string? UserName { get; set; }

    [BindProperty]
    public string? Password { get; set; }

    public OpenInvitation Opened { get; private set; } = null!;

    public FieldErrors Errors { get; } = new();

    public int PasswordLengthMin => options.PasswordLengthMin;

    public bool AsksForPassword => !options.OidcOnly;

    public string? SignedInAs => User.FindFirst(ClaimTypes.Email)?.Value;

    public Visitor Who =>
        User.Identity!.IsAuthenticated
            ? string.Equals(SignedInAs, Opened.Invitation.Email, StringComparison.OrdinalIgnoreCase)
                ? Visitor.TheInvited
                : Visitor.SomebodyElse
            : Opened.HasAccount
                ? Visitor.ToSignIn
                : Visitor.ToSignUp;

    public string NameOf(string role) => options.Roles.NameOf(role);

    public async Task<IActionResult> OnGetAsync() => await OpenAsync() ?? Page();

    public async Task<IActionResult> OnPostAsync()
    {
        if (await OpenAsync() is { } refused)
            return refused;
        switch (Who)
        {
            case Visitor.TheInvited:
                var accepted = await answers.AcceptAsync(SessionCookie.Actor(HttpContext), Code);
                return accepted.Refusal is { } refusal ? this.Refuse(refusal) : this.SeeOther(Links.Security(accepted.Value));
            case Visitor.ToSignUp:
                var signedUp = await answers.SignUpAsync(Code, UserName ?? "", Password ?? "", HttpContext.Connection.RemoteIpAddress);
                if (signedUp.Refusal is { } fault)
                {
                    if (fault.Code != RefusalCode.InvalidRequest)
                        return this.Refuse(fault);
                    Errors.Add(fault, ("name", "name", "Your name"), ("password", "password", "Password"));
                    Response.StatusCode = fault.Status;
                    return Page();
                }

                // If the provider is the only way to sign in, the link creates an account but begins no session.
                if (!options.OidcOnly)
                    await SessionCookie.BeginAsync(HttpContext, signedUp.Value, SignInMethod.Invitation);
                return this.SeeOther(Links.Security(Opened.Invitation.OrganizationsAndRoles[0].OrganizationId));
            default:
                Response.StatusCode = StatusCodes.Status403Forbidden;
                return Page();
        }
    }

    /// <summary>Not null: the response, because the link does not work.</summary>
    private async Task<IActionResult?> OpenAsync()
    {
        var opened = await answers.OpenAsync(Code);
        if (opened.Refusal is { } refused)
            return this.Refuse(refused);
        Opened = opened.Value;
        return null;
    }
}
