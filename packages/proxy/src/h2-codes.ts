/** Numbers that both a connection and its streams use. */

/** RFC 9113 section 7. */
export const NO_ERROR = 0
export const PROTOCOL_ERROR = 1
export const INTERNAL_ERROR = 2
export const FLOW_CONTROL_ERROR = 3
export const STREAM_CLOSED = 5
export const FRAME_SIZE_ERROR = 6
export const REFUSED_STREAM = 7
export const CANCEL = 8
export const COMPRESSION_ERROR = 9
export const ENHANCE_YOUR_CALM = 11

/** The widest window there is (RFC 9113 section 6.9.1). */
export const WINDOW_MAX = 0x7fff_ffff
/** What a client may send ahead on one stream. */
export const STREAM_WINDOW = 131_072
