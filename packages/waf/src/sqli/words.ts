/** SQL's vocabulary, as far as injection needs it. */

/** Word to token; `??` marks words that count only together with the one after. */
export const WORDS: ReadonlyMap<string, string> = new Map([
  ...kind('l', 'and or xor'),
  ...kind('k', 'not'),
  ...kind('o', 'like rlike regexp glob ilike between in is similar'),
  ...kind('a', 'div mod binary collate escape'),
  ...kind('n', 'null true false'),
  ...kind('U', 'union intersect except minus'),
  ...kind('A', 'all distinct distinctrow top'),
  ...kind('E', 'select'),
  ...kind('M', 'from'),
  ...kind('H', 'having'),
  ...kind('L', 'limit offset'),
  ...kind('c', 'case'),
  ...kind('??', 'order group waitfor into procedure'),
])

/** Statements, and what has to follow for the word to be one. */
export const STATEMENT_OBJECTS: ReadonlyMap<string, RegExp> = new Map([
  ...statement(
    'drop create alter',
    'or replace|temporary|table|database|index|view|procedure|function|user|schema|trigger|login|role|sequence',
  ),
  ...statement('truncate', 'table|[a-z_]{1,40}\\s{0,4}(?:;|--|#|$)'),
  ...statement('call', '[a-z_.]{1,40}\\s{0,4}\\('),
  ...statement('prepare', '[a-z_]{1,20}\\s{1,4}from\\s'),
  ...statement('set', '@|global|session'),
  ...statement('rename', 'table'),
  ...statement('insert replace merge', 'into|ignore|delayed'),
  ...statement('delete', 'from'),
  ...statement('update', '[a-z_."`\\[\\]]{1,40}\\s{1,8}set'),
  ...statement('exec execute', 'master|sp_[a-z]|xp_[a-z]|immediate|@'),
  ...statement('declare', '@'),
  ...statement('grant revoke', '[a-z, ]{2,40}\\bon'),
  ...statement('load', 'data|extension'),
  ...statement('handler', '[a-z_]{1,40} open'),
  ...statement('attach', 'database'),
  ...statement('copy', '[a-z_(]{1,40}[^;]{0,20} (?:from|to) program'),
  ['exec', /^\s{0,8}(?:\(|\s(?:master|sp_[a-z]|xp_[a-z]|@))/i],
  ['shutdown', /^\s{0,8}(?:$|--|;|with)/i],
  ['begin', /^\s{1,8}(?:declare|dbms|select|execute)/i],
])

/** Called by attackers, hardly ever named in text with a parenthesis behind. */
export const DANGEROUS: ReadonlySet<string> = new Set(
  words(
    'sleep benchmark pg_sleep pg_sleep_for extractvalue updatexml load_file load_extension xp_cmdshell xp_dirtree xp_regread sp_executesql sp_oacreate utl_http utl_inaddr get_host_address receive_message dbms_lock randomblob sys_eval sys_exec lo_import lo_export pg_read_file pg_ls_dir query_to_xml database_to_xml xmltype fn_trace_gettable openrowset opendatasource gtid_subset json_keys exp make_set elt polygon geometrycollection multipoint multipolygon linestring multilinestring row_count ctxsys',
  ),
)

/** Packages of Oracle whose procedures reach out of the database. */
export const PACKAGES: ReadonlySet<string> = new Set(
  words('utl_http utl_inaddr utl_smtp utl_tcp utl_file dbms_ldap dbms_pipe dbms_java dbms_scheduler httpuritype'),
)

export const FUNCTIONS: ReadonlySet<string> = new Set(
  words(
    'ascii ord char chr nchar unicode concat concat_ws group_concat string_agg listagg substr substring mid left right length len char_length count sum min max avg if iif ifnull isnull nullif coalesce version user current_user session_user system_user database schema db_name user_name host_name hex unhex conv convert cast floor rand round abs md5 sha1 now sysdate curdate current_timestamp exists row lower upper trim replace reverse repeat instr locate position find_in_set encode decode to_char to_number sqlite_version current_setting last_insert_id connection_id uuid json_extract bin oct name_const object_id serverproperty typeof printf quote strcmp',
  ),
)

function words(text: string): string[] {
  return text.split(' ')
}

function kind(token: string, text: string): (readonly [string, string])[] {
  return words(text).map((word) => [word, token] as const)
}

function statement(verbs: string, objects: string): (readonly [string, RegExp])[] {
  const pattern = new RegExp(`^\\s{1,8}(?:${objects})`, 'i')
  return words(verbs).map((verb) => [verb, pattern] as const)
}
