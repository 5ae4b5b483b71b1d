using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;
using Microsoft.CodeAnalysis.CSharp.Syntax;

namespace Pakhouse.Tests;

/// <summary>
/// No operation forgets to ask: whatever writes to the database, or reads it for a caller, asks <see cref="Guard"/> and looks at the
/// answer, or stands below with the reason why nobody is asked. Read off the source, so a new operation is found before it has a route.
/// </summary>
public sealed class AuthorizationTests
{
    private static readonly string[] writes = ["ChangeAsync", "WriteAsync", "WriteExclusiveAsync"];

    /// <summary>Operations that ask nobody, and what stands in the place of it. Jobs are no operations: nobody calls them.</summary>
    private static readonly Dictionary<string, string> unasked = new(StringComparer.Ordinal)
    {
        ["ProtectionRenewal.RunAsync"] = "a command at the machine",
        ["Restore.FinishAsync"] = "a command at the machine",
        ["Restore.MovedAsync"] = "a command at the machine",
        ["StateGuard.AdoptAsync"] = "the start of the server",
        ["SigningKeys.RefreshAsync"] = "the server itself",
        ["SharedProtectionKeys.StoreElement"] = "the server itself",
        ["SharedProtectionKeys.RemoveOthersAsync"] = "a command at the machine",
        ["Leaks.RevokeAsync"] = "the leaked secret",
        ["InvitationAnswers.SignUpAsync"] = "the code of the invitation",
        ["ProviderConnections.ConnectAsync"] = "the code of the mail, and the provider's answer",
        ["ProviderSubjects.FindAsync"] = "the provider's answer",
        ["Passwords.RequestResetAsync"] = "nobody: what it writes opens a mailbox's account to the mailbox",
        ["Passwords.ResetAsync"] = "the code of the mail",
        ["SetUp.NewCodeAsync"] = "the start of the server",
        ["SetUp.CompleteAsync"] = "the code in the server's output",
        ["SessionStore.BeginAsync"] = "a way to sign in",
        ["SessionStore.ProveAsync"] = "a way to sign in",
        ["SecondFactor.CheckAsync"] = "the code itself",
        ["Passkeys.NoteUseAsync"] = "the signature",
        ["SignInAttempts.TakeAsync"] = "a count",
        ["SignInFailures.RecordAsync"] = "a count",
        ["SignInStateCookies.ConsumeAsync"] = "a cookie of ours",
        ["KeptForms.KeepAsync"] = "the session of the request",
        ["KeptForms.TakeAsync"] = "the session of the request",
    };

    [Fact, SqliteOnly("it reads source files")]
    public void No_operation_forgets_to_ask_who_calls()
    {
        var sources = Sources().ToList();
        Assert.True(Operations(sources).Count() > 70);
        Assert.Equal([], Faults(sources).Except(unasked.Keys, StringComparer.Ordinal));
        Assert.Equal([], unasked.Keys.Except(Faults(sources), StringComparer.Ordinal)); // none stands here for nothing
    }

    [Theory, SqliteOnly("it reads source files")]
    [InlineData("database.WriteAsync(async t => 1)")]
    [InlineData("database.ChangeAsync<bool>(async t => { Guard.Demand(actor, Permission.EndSession); return true; })")]
    [InlineData(
        "database.ReadAsync(async c => { var access = await Guard.AuthorizeAsync(c, null, actor, Permission.SeePolicy, id); return 1; })"
    )]
    [InlineData("database.WriteAsync(async t => { await HelpAsync(); return 1; })")]
    public void Control_one_that_does_not_ask_or_does_not_look_at_the_answer_is_found(string body)
    {
        var planted =
            $"class Planted {{ public Task DoAsync(Actor actor, Guid id) => {body}; private Task HelpAsync() => Task.CompletedTask; }}";
        Assert.Equal(["Planted.DoAsync"], Faults([planted]));
    }

    [Theory, SqliteOnly("it reads source files")]
    [InlineData(
        "database.WriteAsync(async t => { if (Guard.Demand(actor, Permission.EndSession) is { } refused) return refused; return 1; })"
    )]
    [InlineData(
        "database.WriteAsync(async t => { var a = await Guard.AuthorizeAsync(t, actor); if (a.Refusal is { } no) return no; return 1; })"
    )]
    [InlineData("database.WriteAsync(async t => await HelpAsync(t))")]
    public void Control_one_that_asks_itself_or_by_another_method_of_its_class_is_none(string body) =>
        Assert.Equal(
            [],
            Faults([
                $"class Planted {{ public Task DoAsync(Actor actor) => {body}; "
                    + "private Task HelpAsync(object t) { if (Guard.Demand(t) is { } no) return no; return t; } }",
            ])
        );

    private static IEnumerable<string> Sources() =>
        Directory
            .GetFiles(Path.Combine(Repository.Root, "src", "Pakhouse.Server"), "*.cs", SearchOption.AllDirectories)
            .Where(file => !file.Contains("/obj/", StringComparison.Ordinal) && !file.Contains("/bin/", StringComparison.Ordinal))
            .Select(File.ReadAllText);

    private sealed record Operation(string Class, string Name, MethodDeclarationSyntax Method);

    /// <summary>Methods that others can call and that write, or read for a caller. The parts of a class count as one.</summary>
    private static IEnumerable<Operation> Operations(IEnumerable<string> sources) =>
        Methods(sources)
            .Where(one =>
                !one.Method.Modifiers.Any(SyntaxKind.PrivateKeyword)
                && !IsJob(one.Method)
                && Calls(one.Method)
                    .Any(call =>
                        Receiver(call) == "database"
                        && (
                            writes.Contains(NameOf(call))
                            || NameOf(call) == "ReadAsync"
                                && one.Method.ParameterList.Parameters.Any(parameter => parameter.Type?.ToString() == "Actor")
                        )
                    )
            );

    private static List<string> Faults(IEnumerable<string> sources)
    {
        var all = sources.ToList();
        var methods = Methods(all).ToLookup(one => (one.Class, one.Name));
        var asking = methods.SelectMany(group => group).Where(one => IsAsking(one.Method)).Select(one => one.Method.ToString()).ToHashSet();
        // By another method of the class, and that one by a third. Of overloads, each that takes as many arguments has to ask.
        for (var count = -1; count != asking.Count;)
        {
            count = asking.Count;
            foreach (var one in methods.SelectMany(group => group).Where(one => !asking.Contains(one.Method.ToString())).ToList())
                if (
                    Calls(one.Method)
                        .Where(call => Receiver(call) is "" or "this")
                        .Select(call => methods[(one.Class, NameOf(call))].Where(called => Takes(called.Method, call)).ToList())
                        .Any(called => called.Count > 0 && called.TrueForAll(other => asking.Contains(other.Method.ToString())))
                )
                    asking.Add(one.Method.ToString());
        }

        return
        [
            .. Operations(all)
                .Where(one => !asking.Contains(one.Method.ToString()))
                .Select(one => $"{one.Class}.{one.Name}")
                .Distinct(StringComparer.Ordinal),
        ];
    }

    private static IEnumerable<Operation> Methods(IEnumerable<string> sources) =>
        sources.SelectMany(source =>
            CSharpSyntaxTree
                .ParseText(source)
                .GetRoot()
                .DescendantNodes()
                .OfType<MethodDeclarationSyntax>()
                .Where(method => method.Parent is TypeDeclarationSyntax)
                .Select(method => new Operation(((TypeDeclarationSyntax)method.Parent!).Identifier.Text, method.Identifier.Text, method))
        );

    /// <summary>The answer is looked at: it is matched where it is asked for, or a variable whose refusal is.</summary>
    private static bool IsAsking(MethodDeclarationSyntax method) =>
        Calls(method)
            .Where(call => Receiver(call) == "Guard" && NameOf(call) is "AuthorizeAsync" or "Demand")
            .Any(call =>
                call.Ancestors().TakeWhile(node => node is not StatementSyntax).OfType<VariableDeclaratorSyntax>().FirstOrDefault()
                    is { } variable
                    ? method
                        .DescendantNodes()
                        .OfType<MemberAccessExpressionSyntax>()
                        .Any(member =>
                            member.Expression.ToString() == variable.Identifier.Text
                            && member.Name.Identifier.Text is "Refusal" or "IsRefused"
                        )
                    : !(call.Parent is ExpressionStatementSyntax or AwaitExpressionSyntax { Parent: ExpressionStatementSyntax })
            );

    private static bool Takes(MethodDeclarationSyntax method, InvocationExpressionSyntax call)
    {
        var (parameters, given) = (method.ParameterList.Parameters, call.ArgumentList.Arguments.Count);
        return given <= parameters.Count && given >= parameters.Count(parameter => parameter.Default is null);
    }

    private static bool IsJob(MethodDeclarationSyntax method) =>
        method.Modifiers.Any(SyntaxKind.OverrideKeyword)
        && ((TypeDeclarationSyntax)method.Parent!).BaseList?.ToString().Contains("PeriodicJob", StringComparison.Ordinal) == true;

    private static IEnumerable<InvocationExpressionSyntax> Calls(MethodDeclarationSyntax method) =>
        method.DescendantNodes().OfType<InvocationExpressionSyntax>();

    private static string Receiver(InvocationExpressionSyntax call) =>
        call.Expression is MemberAccessExpressionSyntax member ? member.Expression.ToString() : "";

    private static string NameOf(InvocationExpressionSyntax call) =>
        call.Expression switch
        {
            MemberAccessExpressionSyntax member => member.Name.Identifier.Text,
            SimpleNameSyntax name => name.Identifier.Text,
            _ => "",
        };
}
