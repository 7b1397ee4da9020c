"""Text that a token, a label or a model's name may be, and that no view may obey."""

SCRIPTS = (
    "<script>window.hit=1</script>", "</script><script>window.hit=1</script>", "<img src=x onerror=window.hit=1>",
    "<svg onload=window.hit=1>", "<svg><script>window.hit=1</script></svg>", "<iframe srcdoc='<script>parent.hit=1</script>'>",
    "<body onload=window.hit=1>", "<details open ontoggle=window.hit=1>", "<input autofocus onfocus=window.hit=1>",
    "<a href='javascript:window.hit=1'>x</a>", "<object data='javascript:window.hit=1'>", "<embed src='javascript:window.hit=1'>",
    "<math><mtext><script>window.hit=1</script>", "<style>*{display:none}</style>", "<link rel=stylesheet href=//example.org/x.css>",
    "<meta http-equiv=refresh content='0;url=//example.org'>", "<base href='//example.org/'>", "<form action=//example.org><button>",
    "<video><source onerror=window.hit=1>", "<template><script>window.hit=1</script>", "--><script>window.hit=1</script>",
    "<!--", "]]>", "</noscript><script>window.hit=1</script>", "</style><script>window.hit=1</script>",
    "</title><script>window.hit=1</script>", "</td></tr></table><b>", "</details>", "<textarea>", "<plaintext>",
)  # fmt: skip
QUOTES = (
    '" onmouseover="window.hit=1', "' onmouseover='window.hit=1", "` onmouseover=window.hit=1", '";window.hit=1;//', "${window.hit=1}",
    "{{constructor.constructor('window.hit=1')()}}", "&lt;script&gt;", "&#60;script&#62;", "\\u003cscript\\u003e", "javascript:window.hit=1",
    "$\\frac{1}{2$", "$$", "\\input{x}", "%s %d {0}", "a\\b", "__proto__", "constructor", "NaN", "null", "</", "<s>", "</s>", "<|endoftext|>",
)  # fmt: skip
UNSEEN = (
    "\0", "a\0b", "\x1b[31mred", "\u202eevil", "\u2066x\u2069", "a\u200bb", "\u200d", "\u200f", "\ufeff", "\u00ad", "\u2028", "\u2029",
    "\n", "\r\n", "\t", "", " ", "    ", "\u3164", "\u115f", "\u2800", "\U000e0041", "\ufe0f", "\u034f", "\ue000", "\ud800", "\uffff",
    "Z" + "\u0335\u0321" * 40, "\u0301", "\u00a0",
)  # fmt: skip
SEEN = (
    "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466", "\u2764\ufe0f", "\U0001f1e9\U0001f1ea", "\u4e2d\u6587", "\u05e9\u05dc\u05d5\u05dd",
    "\u0645\u0631\u062d\u0628\u0627", "e\u0301", "##ing", "\u2581the", "\u0120the", "W" * 10_000,
)  # fmt: skip
TOKENS = SCRIPTS + QUOTES + UNSEEN + SEEN
