# SPDX-License-Identifier: Apache-2.0
# commands.awk: the programs that shell scripts call, one "FILE WORD" a line, for tests/test_commands.sh. It knows of the
# shell's grammar what these scripts use: quotes, here documents, case, functions, substitutions, and commands that call
# others (env, timeout, xargs, sh -c, find -exec, the suites' own good and holds). What a variable holds is not looked at.
# "FILE +WORD" is a word that the file may use: a function of it, or one that `command -v` or `needs` asks for.
function flush_file(   saved) {
    if (file == "") return
    saved = file
    scan(text)
    text = ""
}
FNR == 1 { flush_file(); file = FILENAME }
{ text = text $0 "\n" }
END { flush_file() }

# The end of what begins at i with an opening character: the place of the closing one. Quotes inside count.
function closing(s, i, open, close_, n,   c, depth) {
    for (; i <= n; i++) {
        c = substr(s, i, 1)
        if (c == "\\") i++
        else if (c == quote) { while (++i <= n && substr(s, i, 1) != quote) ; }
        else if (c == open) depth++
        else if (c == close_ && --depth == 0) return i
    }
    return n
}

# A word that stands where a command may.
function command_word(w) {
    if (w ~ /^[A-Za-z0-9_.+-]+$/) print file, w
}

# Looks at all commands in s. Local variables stand behind the arguments: it calls itself for substitutions.
function scan(s,   n, i, c, d, j, w, plain, at, pattern, looping, caller, before, asked, redirected, ends, e, k, inner, line) {
    n = length(s)
    at = 1 # a command may stand here
    pattern = looping = caller = redirected = e = 0
    before = ""
    for (i = 1; i <= n; ) {
        c = substr(s, i, 1)
        if (c == " " || c == "\t") { i++; continue }
        if (c == "\\" && substr(s, i + 1, 1) == "\n") { i += 2; continue }
        if (c == "#") { while (i <= n && substr(s, i, 1) != "\n") i++; continue }
        if (c == "\n" || c == ";" || c == "|" || c == "&" || c == "(" || c == ")") {
            if (c == ";" && substr(s, i + 1, 1) == ";") { pattern = 1; i++ }
            else if (c == ")") pattern = 0
            i++
            if (c == "\n")
                for (k = 1; k <= e; k++) { # here documents
                    do {
                        j = index(substr(s, i), "\n")
                        if (!j) j = n - i + 2
                        line = substr(s, i, j - 1)
                        sub(/^\t+/, "", line)
                        i += j
                    } while (i <= n && line != ends[k])
                }
            if (c == "\n") e = 0
            at = 1; caller = looping = 0; before = ""
            continue
        }
        if (c == "<" || c == ">") {
            if (substr(s, i, 2) == "<<") {
                i += 2
                if (substr(s, i, 1) == "-") i++
                while (substr(s, i, 1) == " ") i++
                for (w = ""; (c = substr(s, i, 1)) ~ /[A-Za-z0-9_"\\]/ || c == quote; i++)
                    if (c ~ /[A-Za-z0-9_]/) w = w c
                ends[++e] = w
                continue
            }
            while (substr(s, i, 1) ~ /[<>&]/) i++
            redirected = 1
            continue
        }
        # a word: w is its text, plain whether it has neither quotes nor substitutions
        w = ""; plain = 1
        for (; i <= n; i++) {
            c = substr(s, i, 1)
            if (c ~ /[ \t\n;|&()<>]/) break
            if (c == "\\") { plain = 0; w = w substr(s, ++i, 1); continue }
            if (c == quote) {
                plain = 0
                j = i
                while (++i <= n && substr(s, i, 1) != quote) ;
                w = w substr(s, j + 1, i - j - 1)
                continue
            }
            if (c == "\"") {
                plain = 0
                for (i++; i <= n && (d = substr(s, i, 1)) != "\""; i++) {
                    if (d == "\\") { w = w substr(s, ++i, 1); continue }
                    if (d == "$" && substr(s, i + 1, 1) == "(") { i = substitution(s, i, n); continue }
                    if (d == "$" && substr(s, i + 1, 1) == "{") { i = closing(s, i + 1, "{", "}", n); continue }
                    w = w d
                }
                continue
            }
            if (c == "$" && substr(s, i + 1, 1) == "(") { plain = 0; i = substitution(s, i, n); continue }
            if (c == "$" && substr(s, i + 1, 1) == "{") { plain = 0; i = closing(s, i + 1, "{", "}", n); continue }
            if (c == "$") plain = 0
            w = w c
        }
        if (redirected) { redirected = 0; continue }
        if (plain && w ~ /^[0-9]$/ && substr(s, i, 1) ~ /[<>]/) continue # 2>
        if (before == "-exec" || before == "-execdir") at = 1
        if ((before == "-v" && asked == "command") || asked == "needs") print file, "+" w
        if (before == "-c" && asked ~ /^(sh|bash)$/) { scan(w); at = 0 }
        if (before == "") asked = ""
        if (w ~ /^(sh|bash|command)$/ || (at && w == "needs")) asked = w
        before = w
        if (pattern) { if (w == "esac") pattern = at = 0; continue }
        if (looping) { if (looping == 2 && w == "in") { looping = 0; pattern = 1 } continue }
        if (!at) continue
        if (plain && substr(s, i, 2) == "()") { own[file, w]; print file, "+" w; i += 2; continue }
        if (plain && w ~ /^(if|then|elif|else|while|until|do|!|\{|time)$/) continue
        if (plain && w == "for") { looping = 1; continue }
        if (plain && w == "case") { looping = 2; continue }
        if (w ~ /^[A-Za-z_][A-Za-z0-9_]*=/) continue
        if (caller && (w ~ /^[-0-9]/ || w ~ /^[A-Z_]+$/)) continue
        if (plain && w ~ /^(exec|env|timeout|nohup|nice|ionice|setsid|taskset|chrt|xargs|prlimit|unshare|setpriv|holds|ends)$/ &&
            !((file, w) in own)) {
            command_word(w)
            caller = 1
            continue
        }
        if (plain) command_word(w)
        at = 0
    }
}

# $( at i: looks at the commands in it; the place of its end.
function substitution(s, i, n,   j) {
    j = closing(s, i + 1, "(", ")", n)
    if (substr(s, i, 3) != "$((") scan(substr(s, i + 2, j - i - 2))
    return j
}
BEGIN { quote = sprintf("%c", 39) }
