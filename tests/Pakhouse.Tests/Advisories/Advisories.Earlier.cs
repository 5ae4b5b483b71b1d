namespace Pakhouse.Tests;

internal static partial class Advisories
{
    private static IEnumerable<Advisory> Earlier() =>
        [
            Try(
                "CVE-2025-61928",
                "better-auth: without a session, a user's id in the body was enough to make a key",
                AdvisoryChecks.NobodyMakesAKeyByNamingAPerson
            ),
            By("CVE-2025-68941", "Gitea: a scope was asked for on some routes", scopeOfEveryRoute),
            By(
                "CVE-2026-24791",
                "Gitea: routes about oneself forgot it again",
                scopeOfEveryRoute,
                (typeof(MatrixTests), nameof(MatrixTests.Every_route_has_a_row_and_every_row_a_route))
            ),
            Try(
                "CVE-2026-28744 GHSA-cc8w-r4qh-3v65",
                "Gitea: a scope was asked for by one transport of the credential and not by the other",
                AdvisoryChecks.AScopeNarrowsByEveryTransport
            ),
            By(
                "CVE-2026-28699",
                "Gitea: one path never set the scope, and none meant all",
                (typeof(ScopesTests.Routes), nameof(ScopesTests.Routes.A_token_without_scopes_opens_no_route))
            ),
            By(
                "GHSA-683j-3ff6-hh2x",
                "Gitea: a token made tokens, wider than itself",
                noKeyFromAKey,
                (typeof(ScopesTests.Itself), nameof(ScopesTests.Itself.A_narrow_key_rotates_itself_and_its_successor_is_as_narrow))
            ),
            By(
                "GHSA-mg4f-x9v4-6h2p",
                "Gitea: userinfo told a person to a token without that scope",
                (typeof(ScopesTests.Addresses), nameof(ScopesTests.Addresses.Introspection_and_userinfo_say_what_the_tokens_scopes_allow)),
                (typeof(ApiTests.On403), nameof(ApiTests.On403.Userinfo_needs_the_scope_openid_and_says_so))
            ),
            By(
                "CVE-2025-3230",
                "Mattermost: tokens outlived their user",
                everyDoor,
                (
                    typeof(RulesTests.R5_A_key_stops_at_the_instant_it_is_acknowledged),
                    nameof(
                        RulesTests.R5_A_key_stops_at_the_instant_it_is_acknowledged.Each_end_ends_the_key_and_only_disabling_can_be_undone
                    )
                )
            ),
            By(
                "Mattermost-37030",
                "Mattermost: a shorter lifetime left older tokens alone",
                (
                    typeof(PoliciesTests.Exchanging),
                    nameof(PoliciesTests.Exchanging.A_key_stops_at_the_longest_lifetime_and_no_token_outlives_it)
                ),
                (
                    typeof(PoliciesTests.Previewing),
                    nameof(PoliciesTests.Previewing.Of_10000_keys_and_a_cap_of_90_days_the_preview_names_exactly_those_that_stop)
                )
            ),
            By(
                "CVE-2024-47000",
                "Zitadel: service users that were off got tokens",
                everyDoor,
                (
                    typeof(ApiKeysTests.On401),
                    nameof(
                        ApiKeysTests
                            .On401
                            .A_deleted_key_is_refused_from_the_instant_its_deletion_is_acknowledged_and_so_is_one_of_a_deleted_organization
                    )
                )
            ),
            By(
                "CVE-2026-27840",
                "Zitadel: a token that was cut off was good",
                (typeof(ForgedTokensTests), nameof(ForgedTokensTests.Cut_at_any_byte_or_with_any_character_changed_it_is_refused)),
                (typeof(KeyFormatTests), nameof(KeyFormatTests.Every_single_character_change_of_a_sample_fails_the_check)),
                (typeof(KeyFormatTests), nameof(KeyFormatTests.Losing_adding_or_swapping_a_character_fails_the_check))
            ),
            By(
                "CVE-2026-55670",
                "Zitadel: an id that came again was in the tenant of before",
                (
                    typeof(RulesTests.R10_Ids_stay_and_names_change),
                    nameof(RulesTests.R10_Ids_stay_and_names_change.The_row_of_a_deleted_organization_stays_so_its_id_is_never_used_again)
                ),
                (typeof(ProviderTests.SignIn), nameof(ProviderTests.SignIn.Who_was_deleted_and_is_made_again_comes_as_somebody_new))
            ),
            By(
                "CVE-2023-0091",
                "Keycloak: one grant did not ask for revocation",
                everyDoor,
                (typeof(IntrospectionTests.On200), nameof(IntrospectionTests.On200.What_is_not_good_is_inactive_and_nothing_else))
            ),
            By(
                "CVE-2026-8922",
                "Keycloak: of two cut-offs the nearer one hid the stricter one",
                stricterWins,
                (typeof(PolicyTests.Stricter), nameof(PolicyTests.Stricter.The_order_of_two_does_not_matter)),
                (
                    typeof(PoliciesTests.Exchanging),
                    nameof(PoliciesTests.Exchanging.Root_keys_get_no_token_of_a_sub_organization_where_either_forbids_it)
                )
            ),
            By(
                "CVE-2022-1245 GHSA-75p6-52g3-rqc8",
                "Keycloak: an exchange for any target that was named",
                (
                    typeof(RulesTests.R3_The_organization_asked_for),
                    nameof(RulesTests.R3_The_organization_asked_for.Of_all_pairs_of_key_and_target_just_the_allowed_ones_work)
                ),
                (
                    typeof(TokenEndpointTests.On403),
                    nameof(TokenEndpointTests.On403.Every_organization_that_is_not_the_keys_gets_one_and_the_same_answer)
                )
            ),
            By("CVE-2026-9097", "Casdoor: an exchange looked at the signature and not at the state", everyDoor),
            By(
                "CVE-2026-33381",
                "Grafana: a cache said yes after the right was gone",
                (
                    typeof(RulesTests.R6_Nothing_that_decides_is_cached),
                    nameof(RulesTests.R6_Nothing_that_decides_is_cached.A_change_made_by_another_process_is_in_the_next_answer)
                )
            ),
            By(
                "CVE-2024-1313",
                "Grafana: another organization deleted by knowing the id",
                everyRoute,
                (typeof(KeysTests.Deleting), nameof(KeysTests.Deleting.A_key_is_deleted_in_its_own_organization_only)),
                (typeof(InventoryTests.Acting), nameof(InventoryTests.Acting.Nobody_reaches_keys_of_another_organization_by_their_ids))
            ),
            Try("CVE-2026-21727", "Grafana: rows of no organization were everybody's", AdvisoryChecks.ThereIsNoKeyOfNobody),
            By(
                "CVE-2026-22640",
                "Grafana: the admin of an organization deleted the server's",
                (
                    typeof(RulesTests.R8_Every_organization_keeps_an_owner),
                    nameof(RulesTests.R8_Every_organization_keeps_an_owner.The_last_owner_cannot_be_removed_demoted_or_deleted)
                ),
                (
                    typeof(RulesTests.R8_Every_organization_keeps_an_owner),
                    nameof(RulesTests.R8_Every_organization_keeps_an_owner.A_manager_neither_grants_nor_removes_owner)
                )
            ),
            By("CVE-2026-21721", "Grafana: the action was authorized and not its object", everyRoute),
            By(
                "CVE-2021-26921",
                "Argo CD: tokens that never ended",
                forgeries,
                (typeof(TokenEndpointTests.On200), nameof(TokenEndpointTests.On200.The_token_carries_the_claims_of_the_contract))
            ),
            Try("CVE-2025-55190", "Argo CD: a details route showed credentials", AdvisoryChecks.NoAnswerHoldsASecret),
            Try("CVE-2023-39349", "Sentry: a list of tokens had their secrets", AdvisoryChecks.NoAnswerHoldsASecret),
            Try("GHSA-6x2c-phff-wx57", "new-api: the list of users had their access tokens", AdvisoryChecks.NoAnswerHoldsASecret),
            By("CVE-2021-32688", "Nextcloud: a limited token widened itself", noKeyFromAKey),
            By("CVE-2022-31667", "Harbor: the update lacked what the creation asked", everyRoute),
            Absent(
                "CVE-2023-22650",
                "Rancher: who had left the directory kept their tokens",
                "Nobody tells this server who has left a provider: there is no directory, no SCIM and no back-channel here. An owner "
                + "removes the member, or the "
                    + "operator disables the user, and the key ends at that instant (R5). A policy of short lifetimes bounds what is "
                    + "forgotten."
            ),
            Try("CVE-2021-32923", "Vault: near the longest lifetime a lease never ended", AdvisoryChecks.NoEndIsNoNever),
            By(
                "CVE-2019-11250 CVE-2020-8565",
                "Kubernetes: tokens in logs, and again at a higher level",
                (typeof(LeaksTests.On202), nameof(LeaksTests.On202.No_key_that_was_sent_stands_in_the_log)),
                (typeof(IntrospectionTests.On503), nameof(IntrospectionTests.On503.Nothing_secret_is_logged_whatever_happens))
            ) with
            {
                Checks = [AdvisoryChecks.NoAnswerHoldsASecret],
            },
            Try("CVE-2024-9606", "LiteLLM: a mask that hid five characters", AdvisoryChecks.NoAnswerHoldsASecret),
            Try("CVE-2026-42208", "LiteLLM: SQL in the key that is looked up", AdvisoryChecks.NoSqlInAKey),
            Try("CVE-2025-11203", "LiteLLM: the health page told keys", AdvisoryChecks.HealthSaysOneWord),
            By(
                "CVE-2024-8114",
                "GitLab: the holder of a key became the person",
                (typeof(SecondFactorTests.Changes), nameof(SecondFactorTests.Changes.No_key_touches_the_ways_to_sign_in)),
                (typeof(SecondFactorTests.Pages), nameof(SecondFactorTests.Pages.A_token_does_not_open_them))
            ),
            By(
                "CVE-2022-23739",
                "GitHub Enterprise: a second interface had the objects and not the gate",
                everyRoute,
                (typeof(MatrixTests), nameof(MatrixTests.No_page_and_no_form_takes_a_token))
            ),
            Absent(
                "CVE-2020-5300",
                "Hydra: a client's assertion could be sent twice",
                "There are no client assertions and no DPoP proofs here: a key is the only credential of an exchange."
            ),
            By("CVE-2024-21643", "Microsoft.IdentityModel: keys from where the token says", forgeries),
            By("CVE-2024-21319", "Microsoft.IdentityModel: an encrypted, packed token fills the memory", forgeries),
            By(
                "CVE-2026-48522",
                "PyJWT: keys from a file: address",
                (
                    typeof(AcceptTokensTests.On503),
                    nameof(AcceptTokensTests.On503.Keys_come_from_the_issuers_origin_and_metadata_names_the_issuer)
                ),
                (
                    typeof(AcceptTokensTests.Using_the_package),
                    nameof(AcceptTokensTests.Using_the_package.Options_out_of_bounds_stop_the_start)
                )
            ),
            By(
                "CVE-2025-55315",
                "Kestrel: a request inside a chunk",
                (typeof(WireTests), nameof(WireTests.No_request_is_smuggled_inside_another))
            ),
            By("GHSA-m2hx-wjxc-9fp4", "Gokapi: a key with a right that its person lacks", rolesOfTheMoment),
            By(
                "CVE-2026-33031",
                "nginx-ui: the token of a disabled user made accounts",
                everyDoor,
                (typeof(ApiTests.On401), nameof(ApiTests.On401.A_token_is_refused_once_it_expired_or_its_key_or_user_ended))
            ),
            By("CVE-2026-25700", "Apache Answer: tokens of admins survived", everyDoor),
            By(
                "CVE-2026-32610",
                "Glances: every site might read, with credentials",
                (
                    typeof(WireTests),
                    nameof(
                        WireTests.Scripts_of_every_site_may_read_the_public_documents_and_userinfo_and_nothing_else_and_never_with_credentials
                    )
                )
            ),
            By("Sentry-2020-07-20", "Sentry: a token of one organization worked on routes of others", everyRoute),
            By(
                "keygen-406",
                "keygen: looking a secret up tells its beginning by time",
                (typeof(TokenEndpointTests.On401), nameof(TokenEndpointTests.On401.All_that_prove_nothing_get_one_and_the_same_answer)),
                (typeof(LeaksTests.On202), nameof(LeaksTests.On202.Nothing_in_the_answer_or_its_time_tells_real_from_unknown)),
                (typeof(KeysTests.Generating), nameof(KeysTests.Generating.The_secret_is_stored_as_a_hash_and_returned_once))
            ),
            Try("eShop-OrdersApi", "eShop: one field was hidden, and then the whole object logged", AdvisoryChecks.NoLogTakesAnObjectApart),
        ];
}
