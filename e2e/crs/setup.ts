import type { RuleSource } from '@ringwall/waf'

/**
 * How CRS wants to be set up for its tests: the union of what `tests/regression/README.md` and `tests/docker-compose.yml` of
 * CRS 3.3 and CRS 4 say. It is read before the rules, as a part of crs-setup.conf.
 */
export const CRS_TEST_SETUP: RuleSource = {
  file: 'crs-test-setup.conf',
  text: `SecRuleEngine DetectionOnly
SecRequestBodyAccess On
SecResponseBodyAccess On
SecResponseBodyMimeType text/xml application/json
SecAction "id:900005,phase:1,nolog,pass,ctl:ruleEngine=DetectionOnly,ctl:ruleRemoveById=910000,\\
  setvar:tx.paranoia_level=4,setvar:tx.blocking_paranoia_level=4,setvar:tx.crs_validate_utf8_encoding=1,\\
  setvar:tx.arg_name_length=100,setvar:tx.arg_length=400,setvar:tx.total_arg_length=64000,setvar:tx.max_num_args=255,\\
  setvar:tx.max_file_size=64100,setvar:tx.combined_file_sizes=65535"
`,
}
