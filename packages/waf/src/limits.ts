/** Every bound that a request can run into. All of them end in a counted verdict, never in a stall. */

/** Arguments taken from one request (query and body together). One more, and the request is over the limit. */
export const ARGS_MAX = 1_000

/** Cookies taken from one request. */
export const COOKIES_MAX = 200

/** Header fields looked at. The proxy refuses sooner. */
export const HEADERS_MAX = 300

/** Parts of a multipart body. */
export const PARTS_MAX = 1_000

/** Bytes of header block of one multipart part. */
export const PART_HEADER_BYTES_MAX = 8_192

/** Nesting of a JSON body. */
export const JSON_DEPTH_MAX = 64

/** Nesting of an XML body. */
export const XML_DEPTH_MAX = 64

/** Characters of argument names taken from one JSON body: each scalar carries the names of all its containers. */
export const JSON_NAMES_CHARS_MAX = 65_536

/** Bytes of a flattened JSON name, so that depth times name length stays small. */
export const JSON_NAME_BYTES_MAX = 2_048

/**
 * Characters that one run of V8's matcher sees. A longer value is looked at through windows of this size, so a pattern that
 * is quadratic by accident costs at most this much per character, not the length of the value. Only patterns too large for the
 * linear matcher are run so.
 */
export const PATTERN_WINDOW_CHARS = 8_192

/** Characters that two neighbouring windows share: no match up to this length is lost on a border. */
export const PATTERN_OVERLAP_CHARS = 1_024

/** The same for patterns with look-around or back-references, which only V8's backtracking matcher understands. */
export const IRREGULAR_WINDOW_CHARS = 512
export const IRREGULAR_OVERLAP_CHARS = 128

/** What such a pattern's character costs, in units of {@link WORK_CHARS_MAX}. */
export const IRREGULAR_WORK_FACTOR = 64

/** Characters before the end of a match in which its captures are looked for. */
export const CAPTURE_CHARS_MAX = 4_096

/** The same behind it: a group that takes as much as it can is tried from here back, character by character. */
export const CAPTURE_AHEAD_CHARS = 512

/** How far from the beginning a match may end for an anchored pattern (`^`, `$`) to be shown the text from there. */
export const ANCHORED_CAPTURE_CHARS_MAX = 32_768

/** Characters of a value that an anchored pattern (`^`, `$`) sees; the rest is not part of the run. */
export const ANCHORED_CHARS_MAX = 131_072

/**
 * Work of one request, in characters passed over by transformations, automaton and patterns; what costs more counts more. A unit is
 * some 2 ns of one core. 128 KB of varied text stay below it at paranoia 1, with the base rules and with CRS. Overrun blocks the
 * request under rule id {@link LIMIT_RULE_ID}.
 */
export const WORK_CHARS_MAX = 24_000_000

/**
 * Of it, what one request may spend on states of patterns that nobody built before, beyond {@link WORK_CHARS_MAX}: else the first long requests after a
 * start would be denied for what they do for all others. There is an end to it: a pattern whose table was full is built at the request's own cost.
 */
export const FIRST_BUILDING_WORK_MAX = 24_000_000

/** Work after which an inspection in slices gives others their turn. */
export const SLICE_WORK_CHARS = 1_000_000

/** Bytes of a body of which all that a stretch of rules wants to know takes less than a slice. */
export const SLICE_STRETCH_BYTES = 16_384

/** What a pattern's character costs, in units of {@link WORK_CHARS_MAX}. */
export const PATTERN_WORK_FACTOR = 4

/** Characters of a value that the SQL and HTML detectors read at once; a longer one goes through overlapping windows. */
export const DETECTOR_CHARS_MAX = 16_384
export const DETECTOR_OVERLAP_CHARS = 2_048

/** What a detector's character costs, in units of {@link WORK_CHARS_MAX}. */
export const DETECTOR_WORK_FACTOR = 8

/** The same for a character of a body or of cookies that is taken apart, and for each value that a rule looks at. */
export const PARSER_WORK_FACTOR = 16
export const VALUE_WORK = 16

/** From so many values of a part of a request on, a link asks first which of them have what it needs. */
export const SIFTED_VALUES_MIN = 8

/** SQL tokens that one context is judged by. */
export const SQL_TOKENS_MAX = 256

/** Matches reported in a verdict. Scoring goes on beyond it. */
export const MATCHES_MAX = 100

/** Characters of a matching value in a report. */
export const EXCERPT_CHARS_MAX = 120

/** Characters of a rule's `logdata` in a report. */
export const LOG_DATA_CHARS_MAX = 300

/** Values remembered between requests with their transformed forms, unless `CompileOptions` says how many, and the longest that is. */
export const MEMO_VALUES_MAX = 4_096
export const MEMO_VALUE_CHARS_MAX = 256

/** Macros grow strings: no expanded text is longer. */
export const EXPANDED_CHARS_MAX = 4_096

/** Transaction variables that rules may set in one request. */
export const TX_VARIABLES_MAX = 1_000

/** The id reported when a request is over a limit rather than caught by a rule. */
export const LIMIT_RULE_ID = 100_999

/** Persistent collections held by one store, and values in one of them. */
export const COLLECTIONS_MAX = 100_000
export const COLLECTION_ENTRIES_MAX = 128

/** Characters of a key that `initcol` names. */
export const COLLECTION_KEY_CHARS_MAX = 256

/** Bytes of a response's body that are looked at, unless `SecResponseBodyLimit` says otherwise. */
export const RESPONSE_BODY_BYTES_MAX = 524_288

/** Patterns with macros in them, compiled while requests run; the longest such pattern. */
export const RUNTIME_PATTERNS_MAX = 64
export const RUNTIME_PATTERN_CHARS_MAX = 2_048

/** Bytes of one uploaded file that `FILES_TMP_CONTENT` holds. */
export const FILE_CONTENT_BYTES_MAX = 131_072

/** Values of a rule's matches that `MATCHED_VARS` holds. */
export const MATCHED_VARS_MAX = 4_000

/** Targets that one request's `ctl:ruleRemoveTarget...` may take out. */
export const REMOVED_TARGETS_MAX = 2_000

/**
 * Instructions of a pattern's linear matcher, repeat counts written out; cells of its table of states (4 bytes each), and threads in
 * all its states (about 10 bytes each). Crafted texts can fill all matchers of a rule set: some 0.6 MB for each pattern, and what grew.
 */
export const DFA_PROGRAM_MAX = 50_000
export const DFA_TABLE_CELLS_MAX = 65_536
export const DFA_THREADS_MAX = 32_768

/** How far such a table grows while all that grew together stay within {@link DFA_SPARE_THREADS}: some 15 bytes a thread. */
export const DFA_GROWN_THREADS_MAX = 262_144
export const DFA_SPARE_THREADS = 1_048_576

/** Patterns that one automaton asks for together, after so many asks of each; and the threads in all its states (at most 2 MB with its table). */
export const UNION_PATTERNS_MAX = 8
export const UNION_ASKS_MIN = 1_000
export const UNION_THREADS_MAX = 131_072
