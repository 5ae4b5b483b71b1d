namespace Pakhouse.Tests;

internal static partial class Advisories
{
    private static IEnumerable<Advisory> Of2026() =>
        [
            By(
                "CVE-2026-96460",
                "Keycloak: exchanged again and again, a token lived for ever",
                (typeof(KeyLifeEndpointsTests), nameof(KeyLifeEndpointsTests.A_token_got_with_a_key_rotates_nothing)),
                (
                    typeof(KeyLifeEndpointsTests),
                    nameof(KeyLifeEndpointsTests.A_key_rotates_itself_only_where_the_policy_allows_it_and_gains_no_time_by_it)
                ),
                (
                    typeof(PoliciesTests.Exchanging),
                    nameof(PoliciesTests.Exchanging.A_key_stops_at_the_longest_lifetime_and_no_token_outlives_it)
                )
            ),
            By(
                "CVE-2026-1035",
                "Keycloak: two uses at once of what may be used once",
                (typeof(KeyRotationTests.Rotating), nameof(KeyRotationTests.Rotating.Two_rotations_at_once_make_one_successor))
            ),
            By(
                "CVE-2026-9802",
                "Keycloak: a restart made revoked tokens good",
                (
                    typeof(RestoreTests),
                    nameof(RestoreTests.Old_state_serves_nothing_until_it_is_made_safe_and_then_no_key_that_ended_lives)
                ),
                (
                    typeof(ClockTests),
                    nameof(ClockTests.While_the_clock_is_wrong_nothing_is_signed_rotated_deleted_or_expired_and_afterwards_all_goes_on)
                )
            ) with
            {
                Checks = [AdvisoryChecks.ARestartRevivesNothing],
            },
            By(
                "CVE-2026-18218",
                "Keycloak: the older of two cut-offs won",
                stricterWins,
                (typeof(PolicyTests.Stricter), nameof(PolicyTests.Stricter.The_grouping_of_three_does_not_matter))
            ),
            By(
                "CVE-2026-1609 CVE-2026-1486",
                "Keycloak: a new grant forgot that users and providers can be disabled",
                everyDoor,
                (typeof(DoorsTests), nameof(DoorsTests.No_endpoint_is_unknown_here))
            ),
            By(
                "CVE-2026-1529",
                "Keycloak: a forged invitation joined another organization",
                (
                    typeof(InvitationsTests.Accepting),
                    nameof(InvitationsTests.Accepting.A_code_that_has_ended_and_one_that_never_was_get_one_answer)
                ),
                (
                    typeof(InvitationsTests.Accepting),
                    nameof(InvitationsTests.Accepting.Somebody_with_an_account_accepts_with_it_and_nobody_else_does)
                )
            ),
            By(
                "CVE-2026-107623",
                "Keycloak: an answer that was sent back turned revocation off",
                (typeof(EmptyTests), nameof(EmptyTests.A_webhook_that_is_read_and_written_back_is_unchanged))
            ) with
            {
                Checks = [AdvisoryChecks.APolicyReadAndWrittenBackIsUnchanged],
            },
            By(
                "CVE-2026-72826",
                "Grav: an empty list of scopes was a key without limits",
                (typeof(EmptyTests), nameof(EmptyTests.An_empty_set_is_refused_and_makes_nothing))
            ),
            By(
                "CVE-2026-62667",
                "Grav: scopes were stored and never read",
                (
                    typeof(ScopesTests.Routes),
                    nameof(ScopesTests.Routes.Every_route_notices_that_the_keys_scopes_were_changed_where_they_are_stored)
                )
            ),
            By("CVE-2026-72833", "Grav: an administrator's narrow key was not narrow", scopeOfEveryRoute),
            By(
                "CVE-2026-72828",
                "Grav: a narrow key invited an administrator",
                (typeof(GrantsTests.WithAKey), nameof(GrantsTests.WithAKey.Authority_is_given_by_no_door)),
                (
                    typeof(GrantsTests.AnInvitation),
                    nameof(GrantsTests.AnInvitation.Is_worth_nothing_when_the_key_that_sent_it_could_not_send_it_any_more)
                )
            ),
            By("CVE-2026-29061", "Gokapi: after a demotion the key did more than its person", rolesOfTheMoment),
            By(
                "CVE-2026-33668",
                "Vikunja: a disabled user was stopped on two of five ways in",
                everyDoor,
                (typeof(DoorsTests), nameof(DoorsTests.No_way_to_sign_in_opens_for_a_person_who_is)),
                (typeof(ProviderTests.Attacks), nameof(ProviderTests.Attacks.Who_is_disabled_stays_out_known_by_address_or_by_subject))
            ),
            // Offline, a token keeps its roles until it ends, an hour at most: a removal or a suspension is in the status list, a demotion
            // is not.
            By(
                "CVE-2026-35594",
                "Vikunja: for days, rights out of the token alone",
                (
                    typeof(IntrospectionTests.On200),
                    nameof(IntrospectionTests.On200.Roles_are_those_that_the_token_has_and_the_user_still_has)
                ),
                (
                    typeof(AcceptTokensTests.On200),
                    nameof(AcceptTokensTests.On200.A_suspended_key_is_refused_and_works_again_when_it_is_revived)
                )
            ),
            Try("GHSA-fpw6-hrg5-q5x5", "Ech0: what never expires could not be revoked", AdvisoryChecks.AKeyOfAnyLifetimeEnds),
            By("GHSA-hm2h-wwwh-g49x", "Ech0: a narrow token changed a password", noKeyFromAKey, scopeOfEveryRoute),
            By(
                "CVE-2026-55669 GHSA-wxg7-w2v3-w38g",
                "Zitadel: audience and times of foreign tokens were not looked at",
                (typeof(ProviderTests.Attacks), nameof(ProviderTests.Attacks.A_forged_or_unproved_answer_opens_nothing)),
                (typeof(ProviderTimesTests), nameof(ProviderTimesTests.A_token_is_good_from_nbf_to_exp_with_five_minutes_between_clocks))
            ),
            Try("CVE-2026-55689", "OpenFGA: without a setting, every audience was good", AdvisoryChecks.NoAudienceIsLeftOut),
            By(
                "CVE-2026-49998",
                "Centrifugo: keys of two issuers in one place, by their id alone",
                forgeries,
                (typeof(AcceptTokensTests.On401), nameof(AcceptTokensTests.On401.Forged_and_foreign_tokens_are_refused))
            ),
            By("CVE-2026-32301", "Centrifugo: an address made of what a token says", forgeries),
            By(
                "CVE-2026-44428",
                "MCP Registry: a token was good on a sister deployment",
                (
                    typeof(ApiTests.On401),
                    nameof(ApiTests.On401.A_token_of_another_issuer_or_for_another_audience_is_refused_though_the_signature_is_right)
                )
            ),
            By(
                "CVE-2026-9094 GHSA-7qjx-gp9h-65qj",
                "Casdoor, Dex: an exchange across organizations",
                (
                    typeof(RulesTests.R3_The_organization_asked_for),
                    nameof(RulesTests.R3_The_organization_asked_for.Of_all_pairs_of_key_and_target_just_the_allowed_ones_work)
                )
            ),
            By("CVE-2026-41164", "nuts-node: another kind of token was an access token", forgeries),
            Absent(
                "CVE-2026-58425",
                "Gitea: introspection told a client about tokens of others",
                "All tokens of a deployment have one audience, the platform's: every resource server is meant to take each of them."
            ),
            By("CVE-2026-40264 CVE-2026-45808", "OpenBao: across tenants, by an older address of the same route", everyRoute),
            Try("CVE-2026-33503 CVE-2026-33504 CVE-2026-33505", "Ory: SQL in the cursor of a page", AdvisoryChecks.ACursorIsHostileInput),
            Try("CVE-2026-25591", "New API: wildcards in a search", AdvisoryChecks.NoWildcardInASearch),
            // A webhook belongs to its organization and goes on, and its owners learn that its maker left.
            By(
                "CVE-2026-58440",
                "Gitea: the webhook of a person who left went on, and nobody was told",
                (typeof(WebhookMakersTests), nameof(WebhookMakersTests.Owners_are_told_when_the_maker_of_a_webhook_leaves))
            ),
            Try(
                "CVE-2026-58511 CVE-2026-33677",
                "Gitea, Vikunja: the secret of a webhook was given back",
                AdvisoryChecks.NoAnswerHoldsASecret
            ),
            By(
                "CVE-2026-104973 CVE-2026-77242 GHSA-r2x7-427f-rq69",
                "Plane, MCP Atlassian, Ech0: a name was judged, and another address dialled",
                (
                    typeof(WebhooksTests.GoingNowhereElse),
                    nameof(
                        WebhooksTests.GoingNowhereElse.A_name_that_resolves_to_a_private_address_is_not_called_unless_the_operator_allows_it
                    )
                ),
                (typeof(WebhooksTests.GoingNowhereElse), nameof(WebhooksTests.GoingNowhereElse.Only_what_is_reachable_globally_is_public))
            ),
            Try("CVE-2026-47768", "nebula-mesh: a new key in an address", AdvisoryChecks.NoAnswerHoldsASecret),
            Try("GHSA-prh4-vhfh-24mj", "Harbor: secrets in the record", AdvisoryChecks.NoAnswerHoldsASecret),
            By(
                "CVE-2026-48790",
                "turso-cli: a file of a token that everybody reads",
                (typeof(StorageTests), nameof(StorageTests.The_data_folder_and_its_files_are_their_owners_alone)),
                (
                    typeof(ProtectionKeysTests),
                    nameof(ProtectionKeysTests.A_key_is_stored_whole_in_a_file_of_its_owner_alone_and_nothing_is_left_beside_it)
                )
            ),
            By(
                "CVE-2026-55987",
                "Gitea: a sign-in through the provider enabled who had been disabled",
                (typeof(ProviderTests.Attacks), nameof(ProviderTests.Attacks.Who_is_disabled_stays_out_known_by_address_or_by_subject))
            ),
            By(
                "GHSA-hp74-gm6m-2qm5",
                "Pocket ID: a weaker way of signing in counted as the stronger one",
                (
                    typeof(SecondFactorTests.Pages),
                    nameof(SecondFactorTests.Pages.What_changes_sign_in_asks_again_who_one_is_after_ten_minutes)
                ),
                (
                    typeof(ProviderTests.Settings),
                    nameof(ProviderTests.Settings.It_confirms_who_one_is_by_a_fresh_sign_in_of_the_same_person)
                )
            ),
            Absent(
                "CVE-2026-67330 GHSA-rjg6-39jm-rgg4",
                "better-auth: a tenant chose the id of a provider",
                "There is no SCIM here, and the one provider is the operator's."
            ),
            By(
                "CVE-2026-43640",
                "Bitwarden: the key of SCIM was shown without signing in again",
                (typeof(FreshSignInTests), nameof(FreshSignInTests.Every_operation_that_answers_a_secret_asks_for_a_fresh_sign_in)),
                (typeof(FreshSignInTests), nameof(FreshSignInTests.No_operation_that_answers_a_secret_is_missing_here))
            ),
            Absent(
                "CVE-2026-67332",
                "better-auth: the audience of a token was not that of its grant",
                "No request names an audience here: all tokens have the one of the settings."
            ),
            By("CVE-2026-44699 CVE-2026-34950 CVE-2026-102271", "LibJWT, fast-jwt, PyJWT: a public key as a secret", forgeries) with
            {
                Checks = [AdvisoryChecks.PublishedKeysSayWhatTheyAreFor],
            },
            By(
                "CVE-2026-40372",
                "ASP.NET Core Data Protection: a package that did not look at the MAC, and what was forged outlived the update",
                runtimeFloor,
                (typeof(ProtectionRenewalTests), nameof(ProtectionRenewalTests.Everything_that_encrypts_is_encrypted_anew_or_void)),
                (
                    typeof(ProtectionRenewalTests),
                    nameof(ProtectionRenewalTests.Nothing_is_left_of_the_old_keys_and_all_but_sessions_goes_on)
                )
            ),
            By("CVE-2026-96233", "ASP.NET Core: denial of service in the shared framework", runtimeFloor),
            Try("CVE-2026-40293", "OpenFGA: a key in a page", AdvisoryChecks.NoAnswerHoldsASecret),
            By(
                "CVE-2026-29054",
                "Traefik: a header named in Connection took the caller's address away",
                (typeof(OriginTests), nameof(OriginTests.The_callers_address_is_what_the_nearest_trusted_proxy_wrote))
            ),
            Try("CVE-2026-27960", "OpenCTI: an id was a credential", AdvisoryChecks.NoIdIsACredential),
        ];
}
