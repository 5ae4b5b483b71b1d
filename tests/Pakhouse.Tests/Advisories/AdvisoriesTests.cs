using System.Reflection;

namespace Pakhouse.Tests;

/// <summary>
/// Published mistakes of systems like this one, each by its id: held by a test of this project, by a check that stands here, or named with
/// the reason why
/// there is nothing to hold. The list is complete: who adds an id to it says what holds it.
/// </summary>
public static class AdvisoriesTests
{
    /// <summary>All ids that were looked at, in the order in which they were.</summary>
    private const string Ids = """
        CVE-2025-61928 CVE-2025-68941 CVE-2026-24791 CVE-2026-28744 GHSA-cc8w-r4qh-3v65 CVE-2026-28699 GHSA-683j-3ff6-hh2x GHSA-mg4f-x9v4-6h2p
        CVE-2025-3230 Mattermost-37030 CVE-2024-47000 CVE-2026-27840 CVE-2026-55670 CVE-2023-0091 CVE-2026-8922 CVE-2022-1245 GHSA-75p6-52g3-rqc8
        CVE-2026-9097 CVE-2026-33381 CVE-2024-1313 CVE-2026-21727 CVE-2026-22640 CVE-2026-21721 CVE-2021-26921 CVE-2025-55190 CVE-2023-39349
        GHSA-6x2c-phff-wx57 CVE-2021-32688 CVE-2022-31667 CVE-2023-22650 CVE-2021-32923 CVE-2019-11250 CVE-2020-8565 CVE-2024-9606 CVE-2026-42208
        CVE-2025-11203 CVE-2024-8114 CVE-2022-23739 CVE-2020-5300 CVE-2024-21643 CVE-2024-21319 CVE-2026-48522 CVE-2025-55315 GHSA-m2hx-wjxc-9fp4
        CVE-2026-33031 CVE-2026-25700 CVE-2026-32610 Sentry-2020-07-20 keygen-406 eShop-OrdersApi
        CVE-2026-96460 CVE-2026-1035 CVE-2026-9802 CVE-2026-18218 CVE-2026-1609 CVE-2026-1486 CVE-2026-1529 CVE-2026-107623 CVE-2026-72826
        CVE-2026-62667 CVE-2026-72833 CVE-2026-72828 CVE-2026-29061 CVE-2026-33668 CVE-2026-35594 GHSA-fpw6-hrg5-q5x5 GHSA-hm2h-wwwh-g49x
        CVE-2026-55669 GHSA-wxg7-w2v3-w38g CVE-2026-55689 CVE-2026-49998 CVE-2026-32301 CVE-2026-44428 CVE-2026-9094 GHSA-7qjx-gp9h-65qj
        CVE-2026-41164 CVE-2026-58425 CVE-2026-40264 CVE-2026-45808 CVE-2026-33503 CVE-2026-33504 CVE-2026-33505 CVE-2026-25591 CVE-2026-58440
        CVE-2026-58511 CVE-2026-33677 CVE-2026-104973 CVE-2026-77242 GHSA-r2x7-427f-rq69 CVE-2026-47768 GHSA-prh4-vhfh-24mj CVE-2026-48790
        CVE-2026-55987 GHSA-hp74-gm6m-2qm5 CVE-2026-67330 GHSA-rjg6-39jm-rgg4 CVE-2026-43640 CVE-2026-67332 CVE-2026-44699 CVE-2026-34950
        CVE-2026-102271 CVE-2026-40372 CVE-2026-96233 CVE-2026-40293 CVE-2026-29054 CVE-2026-27960
        """;

    public static TheoryData<string> Held() => [.. Advisories.All.Where(one => one.Absent is null).Select(one => one.Ids)];

    /// <summary>The tests that hold it are there and run; the checks that stand here are run.</summary>
    [Theory]
    [MemberData(nameof(Held))]
    public static async Task The_mistake_is_not_made_here(string ids)
    {
        var advisory = Advisories.All.Single(one => one.Ids == ids);
        Assert.True(advisory.Tests.Length + advisory.Checks.Length > 0);
        foreach (var (type, name) in advisory.Tests)
        {
            var method = type.GetMethod(name, BindingFlags.Public | BindingFlags.Instance | BindingFlags.Static);
            var fact = method?.GetCustomAttributes<FactAttribute>().SingleOrDefault();
            Assert.True(fact is { Skip: null, Explicit: false }, $"{type.Name}.{name} is no test that runs");
        }

        foreach (var check in advisory.Checks) await check();
    }

    [Fact]
    public static void Every_id_is_covered_exactly_once()
    {
        var known = Ids.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries);
        var covered = Advisories.All.SelectMany(one => one.Ids.Split(' ')).ToList();
        Assert.Empty(known.Except(covered, StringComparer.Ordinal));
        Assert.Empty(covered.Except(known, StringComparer.Ordinal));
        Assert.Equal(covered.Count, covered.Distinct(StringComparer.Ordinal).Count());
        Assert.All(Advisories.All, one =>
            Assert.True(one.Absent is null ? one.Tests.Length + one.Checks.Length > 0 : one.Absent.Length > 20, one.Ids));
    }
}

/// <param name="Ids">Separated by blanks.</param>
/// <param name="Mistake">Of whom, and what it was, in our words.</param>
internal sealed record Advisory(string Ids, string Mistake)
{
    public (Type Type, string Name)[] Tests { get; init; } = [];

    public Func<Task>[] Checks { get; init; } = [];

    /// <summary>Why there is nothing to hold; null: something is held.</summary>
    public string? Absent { get; init; }
}

/// <summary>The table.</summary>
internal static partial class Advisories
{
    private static Advisory By(string ids, string mistake, params (Type Type, string Name)[] tests) => new(ids, mistake) { Tests = tests };

    private static Advisory Try(string ids, string mistake, params Func<Task>[] checks) => new(ids, mistake) { Checks = checks };

    private static Advisory Absent(string ids, string mistake, string why) => new(ids, mistake) { Absent = why };

    private static readonly (Type, string) everyRoute =
            (typeof(MatrixTests), nameof(MatrixTests.Every_answer_is_what_the_permissions_and_the_cells_by_hand_say)),
        everyDoor =
            (
                typeof(DoorsTests),
                nameof(DoorsTests.A_credential_opens_a_door_only_while_all_that_it_depends_on_lives_and_by_its_own_way_alone)
            ),
        noKeyFromAKey =
            (typeof(BreedingTests), nameof(BreedingTests.Nothing_that_comes_with_a_key_makes_or_widens_one_or_touches_a_sign_in)),
        forgeries = (typeof(ForgedTokensTests), nameof(ForgedTokensTests.Every_forgery_is_refused_at_every_door_and_nothing_is_fetched)),
        scopeOfEveryRoute = (typeof(ScopesTests.Routes), nameof(ScopesTests.Routes.Every_route_takes_the_scope_of_its_row_and_no_other)),
        rolesOfTheMoment =
            (
                typeof(RulesTests.R4_The_token_carries_what_the_user_may_do_at_that_moment),
                nameof(RulesTests.R4_The_token_carries_what_the_user_may_do_at_that_moment.A_change_of_roles_is_in_the_next_token)
            ),
        runtimeFloor =
            (typeof(OperatorLogTests), nameof(OperatorLogTests.A_runtime_below_the_lowest_that_is_known_to_be_good_is_warned_of)),
        stricterWins =
            (typeof(PolicyTests.Stricter), nameof(PolicyTests.Stricter.What_one_refuses_both_refuse_and_what_both_allow_each_allows));

    // Behind the names above, which it takes.
    public static IReadOnlyList<Advisory> All { get; } = [.. Earlier(), .. Of2026()];
}
