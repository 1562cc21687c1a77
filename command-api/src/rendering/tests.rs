//! Whatever is written, what is shown is harmless, small and quick to make.

use domain::post::{Text, Visibility};
use domain::text::{Markdown, Title};
use domain::{PostId, Timestamp, UserId};
use proptest::prelude::*;
use serde_json::json;

use super::{Facts, LARGEST, PREVIEW, RENDERER, nothing, prepare, render, render_text};

fn html(markdown: &str) -> String {
    render_text(markdown).html.trim().to_owned()
}

fn preview(markdown: &str) -> (String, bool) {
    let rendered = render_text(markdown);
    (rendered.beginning, rendered.truncated)
}

#[test]
fn markdown_becomes_html() {
    for (markdown, expected) in [
        ("hello *world* and **more**", "<p>hello <em>world</em> and <strong>more</strong></p>"),
        ("# Title", "<h1>Title</h1>"),
        ("~~gone~~ `code`", "<p><del>gone</del> <code>code</code></p>"),
        ("> quoted", "<blockquote>\n<p>quoted</p>\n</blockquote>"),
        ("3. three", "<ol start=\"3\">\n<li>three</li>\n</ol>"),
        ("```rust\nfn\n```", "<pre><code>fn\n</code></pre>"),
        ("a\\\nb", "<p>a<br>\nb</p>"),
        (
            "[site](https://example.com \"t\")",
            "<p><a href=\"https://example.com\" title=\"t\" rel=\"nofollow ugc noopener\">site</a></p>",
        ),
        (
            "https://example.com/",
            "<p><a href=\"https://example.com/\" rel=\"nofollow ugc noopener\">https://example.com/</a></p>",
        ),
        ("![alt](https://example.com/a.png)", "<p><img src=\"https://example.com/a.png\" alt=\"alt\"></p>"),
        (
            "|a|b|\n|:-|-:|\n|1|2|",
            "<table>\n<thead>\n<tr>\n<th align=\"left\">a</th>\n<th align=\"right\">b</th>\n</tr>\n</thead>\n<tbody>\n<tr>\n\
             <td align=\"left\">1</td>\n<td align=\"right\">2</td>\n</tr>\n</tbody>\n</table>",
        ),
        ("1 < 2 & 3", "<p>1 &lt; 2 &amp; 3</p>"),
    ] {
        assert_eq!(html(markdown), expected);
    }
}

/// Tags of the HTML, without what is escaped text.
fn tags(html: &str) -> Vec<String> {
    html.split('<').skip(1).map(|rest| rest.split('>').next().unwrap_or(rest).to_ascii_lowercase()).collect()
}

const ALLOWED: [&str; 26] = [
    "a",
    "blockquote",
    "br",
    "code",
    "del",
    "em",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "hr",
    "img",
    "li",
    "ol",
    "p",
    "pre",
    "strong",
    "table",
    "tbody",
    "td",
    "th",
    "thead",
    "tr",
    "ul",
];
const ATTRIBUTES: [&str; 7] = ["href", "title", "rel", "src", "alt", "start", "align"];

fn assert_harmless(html: &str, of: &str) {
    for tag in tags(html) {
        let name = tag.trim_start_matches('/').split([' ', '\n', '/']).next().unwrap();
        assert!(ALLOWED.contains(&name), "<{tag}> of {of:.80}");
        // Attributes are name="value", and quotes in values are escaped.
        let mut rest = tag[tag.find(' ').unwrap_or(tag.len())..].trim();
        while let Some((name, value)) = rest.split_once("=\"") {
            assert!(ATTRIBUTES.contains(&name.trim()), "{name} in <{tag}> of {of:.80}");
            let (value, after) = value.split_once('"').unwrap();
            if matches!(name.trim(), "href" | "src") {
                let schemes: &[&str] =
                    if name.trim() == "src" { &["http://", "https://"] } else { &["http://", "https://", "mailto:"] };
                assert!(schemes.iter().any(|scheme| value.starts_with(scheme)), "{value} in <{tag}> of {of:.80}");
            }
            rest = after;
        }
        assert!(rest.trim().is_empty(), "{rest} in <{tag}> of {of:.80}");
    }
}

#[test]
fn nothing_harmful_survives() {
    for hostile in [
        "<script>alert(1)</script>",
        "<ScRiPt src=//evil.example></sCrIpT>",
        "text <img src=x onerror=alert(1)> text",
        "<a href=\"javascript:alert(1)\">x</a>",
        "[x](javascript:alert(1))",
        "[x](JaVaScRiPt:alert(1))",
        "[x](java\tscript:alert(1))",
        "[x](&#106;avascript:alert(1))",
        "[x](javascript&colon;alert(1))",
        "[x](<javascript:alert(1)>)",
        "[x](vbscript:x) [y](file:///etc/passwd) [z](data:text/html;base64,PHNjcmlwdD4=)",
        "<javascript:alert(1)>",
        "![x](javascript:alert(1))",
        "![x](data:image/svg+xml;base64,PHN2Zz4=)",
        "![x](data:image/png;base64,AAAA)",
        "![x](/relative.png) ![x](//evil.example/a.png) ![x](ftp://x/y)",
        "![x](mailto:a@b.example)",
        "![\" onerror=\"alert(1)](https://example.com/a.png \"\\\" onload=\\\"alert(1)\")",
        "[x](https://example.com/\"onmouseover=\"alert(1))",
        "[x](/relative) [y](//evil.example) [z](#fragment)",
        "<svg><script>alert(1)</script></svg>",
        "<svg onload=alert(1)>",
        "<math><mtext><table><mglyph><style><!--</style><img title=\"--&gt;&lt;img src=1 onerror=alert(1)&gt;\">",
        "<math><mi//xlink:href=\"data:x,<script>alert(4)</script>\">",
        "<noscript><p title=\"</noscript><img src=x onerror=alert(1)>\">",
        "<form><button formaction=javascript:alert(1)>x",
        "<iframe srcdoc=\"<script>alert(1)</script>\"></iframe>",
        "<style>@import '//evil.example'</style>",
        "<base href=//evil.example> <meta http-equiv=refresh content=0> <link rel=import href=x>",
        "<!-- comment --> <!--><script>alert(1)</script>-->",
        "<![CDATA[<script>alert(1)</script>]]> <?php echo 1 ?> <!DOCTYPE html>",
        "`<script>`\n\n```\"><script>alert(1)</script>\n</code></pre><script>\n```",
        "|<script>|\n|-|\n|<img src=x onerror=alert(1)>|",
        "# <b onclick=alert(1)>x</b>",
        "[a]: javascript:alert(1)\n\n[a]",
        "&lt;script&gt;alert(1)&lt;/script&gt;",
        "&#60;script&#62;",
        "\u{feff}<script>alert(1)</script>",
        "<p style=\"background:url(javascript:alert(1))\">x</p>",
        "<plaintext><xmp><textarea></xmp><img src=x onerror=alert(1)>",
    ] {
        let html = html(hostile);
        assert_harmless(&html, hostile);
        let text = preview(hostile).0;
        assert!(text.chars().all(|character| !character.is_control() || character == '\n'), "{text:?}");
    }
    // Raw HTML is shown as it was written.
    assert_eq!(html("a <b>c</b>"), "<p>a &lt;b&gt;c&lt;/b&gt;</p>");
    assert_eq!(html("![x](javascript:alert(1))"), "<p><img alt=\"x\"></p>");
}

#[test]
fn deep_and_blown_up_texts_end() {
    let fill = |piece: &str| piece.repeat(64 * 1024 / piece.len());
    let nested_list: String = (0..250).map(|depth| format!("{}- x\n", "  ".repeat(depth))).collect();
    let columns = 4000;
    let table = format!("{}\n{}\n{}", "|a".repeat(columns), "|-".repeat(columns), "|\n".repeat(8000));
    let references: String = format!("[a]: /{}\n\n{}", "x".repeat(5000), "[a]".repeat(15_000));
    let texts = [
        fill(">"),
        fill("> "),
        fill("["),
        fill("[a]("),
        fill("]"),
        fill("![["),
        fill("*"),
        fill("**a *b "),
        fill("*a_ "),
        fill("~~a"),
        fill("`a``"),
        fill("<"),
        fill("<a "),
        fill("<!--"),
        fill("&#"),
        fill("\\"),
        fill("- "),
        fill("1. "),
        fill("|"),
        fill("|\n"),
        fill("a\n=\n"),
        fill("http://a"),
        fill("www.a@"),
        fill("[a]: b\n"),
        fill("\t>"),
        fill("\"'"),
        nested_list,
        table,
        references,
    ];
    for text in texts {
        let rendered = render_text(&text);
        assert!(rendered.html.len() <= LARGEST + 64 * 1024 * 6, "{} bytes of {:.10}", rendered.html.len(), text);
        assert_harmless(&rendered.html, &text);
        assert!(rendered.beginning.chars().count() <= PREVIEW);
    }
    // Nothing of it is lost, either.
    assert_eq!(html(&">".repeat(10_000)), format!("<pre>{}</pre>", "&gt;".repeat(10_000)));
}

#[test]
fn previews_are_the_beginning_without_markup() {
    for (markdown, expected) in [
        ("hello *world*, [link](https://example.com) and `code`", "hello world, link and code"),
        ("# Title\n\nfirst\nline\\\nbreak\n\n- one\n- two", "Title\nfirst line\nbreak\none\ntwo"),
        ("```\na\n\nb\n```", "a\nb"),
        ("![a picture](https://example.com/a.png)", "a picture"),
        ("<b>x</b> &amp; &lt;", "<b>x</b> & <"),
        ("a   b\t\tc", "a b c"),
        ("|a|b|\n|-|-|\n|1|2|", "a b\n1 2"),
        ("---", ""),
    ] {
        assert_eq!(preview(markdown), (expected.to_owned(), false), "{markdown}");
    }
    let words = "word ".repeat(100);
    let (text, truncated) = preview(&words);
    assert!(truncated);
    assert_eq!(text, words[..279].trim_end(), "cut between words");
    let (text, truncated) = preview(&"é".repeat(1000));
    assert_eq!((text.chars().count(), truncated), (PREVIEW, true), "a word without end is cut");
    assert_eq!(preview(&"x".repeat(PREVIEW)), ("x".repeat(PREVIEW), false), "exactly as long");
    let exact = format!("{} tail", "x".repeat(PREVIEW));
    assert_eq!(preview(&exact), ("x".repeat(PREVIEW), true));
}

#[tokio::test]
async fn a_rendering_is_what_the_store_keeps() {
    let text = Text {
        title: Some(Title::parse("T").unwrap()),
        markdown: Markdown::parse(&"*long* text ".repeat(1000)).unwrap(),
    };
    let post = PostId::from_parts(Timestamp::from_millis(1_700_000_000_000), [1; 10]);
    let author = UserId::from_parts(Timestamp::from_millis(1_600_000_000_000), [2; 10]);
    let facts = Facts { post, author, visibility: Visibility::Followers, edited_at: None, version: 3 };
    let rendered = render(facts, &text).unwrap();
    // On another thread, since it is large, and the same.
    assert_eq!(prepare(&text.markdown).await.unwrap().of(facts, text.title.as_ref()).unwrap(), rendered);
    assert_eq!(rendered.renderer, RENDERER);
    let preview: serde_json::Value = serde_json::from_str(rendered.preview.as_ref().unwrap()).unwrap();
    let shown = preview["text"].clone();
    let expected = json!({
        "id": post, "author_id": author, "title": "T", "text": shown, "truncated": true, "visibility": "followers",
        "created_at": "2023-11-14T22:13:20.000Z", "edited_at": null, "version": 3,
    });
    assert_eq!(preview, expected);
    assert_eq!((nothing().html.as_str(), nothing().preview), ("", None));
}

proptest! {
    #[test]
    fn no_mixture_is_harmful(pieces in prop::collection::vec(
        prop_oneof![
            Just("<"), Just(">"), Just("\""), Just("'"), Just("`"), Just("["), Just("]("), Just(")"), Just("!["),
            Just("script"), Just("javascript:"), Just("img src=x onerror=a "), Just("svg"), Just("math"), Just("style"),
            Just("<!--"), Just("-->"), Just("&lt;"), Just("&#x3c;"), Just("\n"), Just("\n\n"), Just("    "), Just("* "),
            Just("> "), Just("|"), Just("|-|"), Just("\\"), Just("/"), Just("data:"), Just("https://a.b "), Just("é"),
            Just("# "), Just("[a]: "), Just("="), Just("on"), Just("<a href="), Just("</"),
        ], 0..40)) {
        let text = pieces.concat();
        let rendered = render_text(&text);
        assert_harmless(&rendered.html, &text);
        prop_assert!(rendered.beginning.chars().count() <= PREVIEW);
    }
}
