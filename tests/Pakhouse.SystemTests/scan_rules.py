"""Runs expressions in the engines that scanners use: RE2 (gitleaks) through Perl, Hyperscan (GitHub) through its C interface.

Input, JSON: {"gitleaks": TOML, "github": {"secret","before","after"}, "samples": [...]}. Output: for each engine which samples match.
"""
import ctypes, ctypes.util, json, subprocess, sys, tomllib

given = json.load(sys.stdin)


def re2(expression, samples):
    perl = "use re::engine::RE2 -strict => 1; my $e = shift; while (<STDIN>) { chomp; print /$e/ ? 1 : 0 }"
    run = subprocess.run(["perl", "-e", perl, expression], input="\n".join(samples) + "\n", capture_output=True, text=True, check=True)
    return [c == "1" for c in run.stdout]


def hyperscan(expression, samples):
    hs = ctypes.CDLL("libhs.so.5")
    database, error, scratch = ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_void_p()
    if hs.hs_compile(expression.encode(), 0, 1, None, ctypes.byref(database), ctypes.byref(error)): sys.exit("Hyperscan does not take the expression.")
    if hs.hs_alloc_scratch(database, ctypes.byref(scratch)): sys.exit("Hyperscan has no memory.")
    handler = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_uint, ctypes.c_ulonglong, ctypes.c_ulonglong, ctypes.c_uint, ctypes.c_void_p)
    matched = []
    for sample in samples:
        hits = []
        callback = handler(lambda *_: hits.append(1) or 0)
        data = sample.encode()
        hs.hs_scan(database, data, len(data), 0, scratch, callback, None)
        matched.append(bool(hits))
    return matched


rule = tomllib.loads(given["gitleaks"])["rules"][0]
# gitleaks looks at an expression only where one of its keywords stands, in lower case.
keywords = [any(word in sample.lower() for word in rule["keywords"]) for sample in given["samples"]]
github = given["github"]
print(json.dumps({
    "id": rule["id"],
    "gitleaks": [a and b for a, b in zip(keywords, re2(rule["regex"], given["samples"]))],
    "github": hyperscan(f'(?:{github["before"]}){github["secret"]}(?:{github["after"]})', given["samples"]),
}))
