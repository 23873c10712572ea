//! The built-in noise rules, as data: each has a field, a pattern, a class and its source. The facts
//! were read there; no list was copied, and patterns that are too general are left out (see the end).
//!
//! Sources: `Nelmio` nelmio/NelmioSecurityBundle, Violation/Filter · `Sentry` getsentry/sentry,
//! interfaces/security.py · `Relay` getsentry/relay, relay-filter · `CSP-useful`
//! nico3333fr/CSP-useful, csp-wtf and csp-parser-enhanced · `collector` jacobbednarz/go-csp-collector,
//! sample.filterlist.txt · `report-uri#n` issues of report-uri/report-uri-bugs · `worldmonitor#n`
//! issues of koala73/worldmonitor · `crbug`, `bmo`, `WebKit`, `Chromium` the engines' trackers and
//! sources · `MS Learn` defender-cloud-apps/troubleshooting-proxy-url · `vendor` the product's own
//! documentation · `pages` saved pages in public repositories that contain the product's tag · `capture`
//! tests/corpus.

use crate::model::Noise;
use crate::model::Noise::{Bot, Browser, Extension, Injected, Intermediary, Local};

/// A noise rule.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) class: Noise,
    pub(super) field: Field,
    pub(super) pattern: &'static str,
    /// Where the fact is published, for reviewers.
    #[cfg_attr(not(test), expect(dead_code, reason = "for people and one test"))]
    pub(super) source: &'static str,
}

/// What the pattern is compared with. The comparison is exact unless documented otherwise, and never
/// matches within a host, a path or a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    /// The scheme of the blocked URL or of the source file, alone or in a URL.
    Scheme,
    /// The scheme of the blocked URL before `://`, because the word alone has another meaning.
    BlockedUrlScheme,
    /// The scheme of the source file.
    SourceScheme,
    /// The blocked URL as a whole.
    Blocked,
    /// The source file as a whole, in Firefox or an unknown browser.
    GeckoSource,
    /// The host of the blocked URL or of the source file, other than the document's own.
    Host,
    /// A domain that such a host equals or is below.
    Domain,
    /// `host/path`: such a host, and the start of the path.
    Path,
    /// The end of the source file's path, where its host is the document's own.
    OwnPathEnd,
    /// A domain that the document's host equals or is below: an intermediary served the page.
    Document,
    /// How an inline or evaluated script starts, after nothing but syntax.
    Script,
    /// How an inline style starts, after nothing but syntax.
    Style,
    /// Anywhere in an inline style.
    InStyle,
    /// A product name of the user agent.
    Agent,
    /// A product name of a headless browser. It is a bot unless the site is under `.test`.
    HeadlessAgent,
}

const fn rule(class: Noise, field: Field, pattern: &'static str, source: &'static str) -> Rule {
    Rule { class, field, pattern, source }
}

use Field::{
    Agent, Blocked, BlockedUrlScheme, Document, Domain, GeckoSource, HeadlessAgent, Host, InStyle,
    OwnPathEnd, Path, Scheme, Script, SourceScheme, Style,
};

/// The built-in rules.
pub(super) static RULES: &[Rule] = &[
    // -- extension: add-ons of the browser. All schemes that end in `-extension` count, listed or not,
    // because no page can load from them.
    rule(Extension, Scheme, "chrome-extension", "capture, crbug 524356"),
    rule(Extension, Scheme, "moz-extension", "capture, bmo 1445643"),
    rule(Extension, Scheme, "safari-extension", "CSP-useful, report-uri#46"),
    rule(Extension, Scheme, "safari-web-extension", "Relay"),
    rule(Extension, Scheme, "webkit-extension", "WebKit"),
    rule(Extension, Scheme, "webkit-masked-url", "Relay, WebKit 304155"),
    rule(Extension, Scheme, "ms-browser-extension", "Nelmio, Sentry"),
    rule(Extension, Scheme, "opera-extension", "Chromium"),
    rule(Extension, Scheme, "edge-extension", "Chromium"),
    rule(Extension, Scheme, "se-extension", "CSP-useful, report-uri#28"),
    rule(Extension, Scheme, "mxaddon-pkg", "Nelmio, Sentry: Maxthon"),
    rule(Extension, Scheme, "jar", "Nelmio, Sentry: old Firefox add-ons"),
    rule(Extension, SourceScheme, "user-script", "WebKit: user script managers"),
    rule(Extension, Host, "sxt.cdn.skype.com", "CSP-useful: Skype, fonts"),
    rule(Extension, Host, "lf-flow-web-cdn.doubao.com", "worldmonitor#4942: Doubao, fonts"),
    rule(Extension, Host, "pwm-image.trendmicro.com", "worldmonitor#4942: password manager"),
    rule(Extension, Host, "cdn.gingersoftware.com", "Nelmio"),
    rule(Extension, Host, "browser.gwdang.com", "Nelmio: price comparison"),
    rule(Extension, Host, "www.passpack.com", "Sentry"),
    rule(Extension, Host, "mstat.acestream.net", "Nelmio, CSP-useful: Ace Script"),
    rule(Extension, Host, "magicplayer-s.acestream.net", "Nelmio: Ace Script"),
    rule(Extension, Domain, "grammarly.io", "Nelmio"),
    rule(Extension, Host, "audiocdn.lingualeo.com", "Nelmio, CSP-useful"),
    rule(Extension, Host, "contentcdn.lingualeo.com", "Nelmio, CSP-useful"),
    rule(Extension, Path, "reek.github.io/anti-adblock-killer/", "CSP-useful, Nelmio"),
    rule(Extension, Script, "installGlobalHook(window)", "Nelmio, CSP-useful: React DevTools"),
    rule(Extension, Script, "installHook (window)", "CSP-useful: Vue devtools"),
    rule(Extension, Script, "lastpass_it", "Nelmio"),
    rule(Extension, Script, "devToolsOptions = Object.", "Nelmio, CSP-useful: Redux DevTools"),
    rule(Extension, Script, "injectPageScriptAPI", "CSP-useful: AdGuard"),
    rule(Extension, Script, "_ngInspect_clickedEl", "CSP-useful: ng-inspect"),
    rule(Extension, Script, "window[\"_gaUserPrefs\"]", "CSP-useful: Analytics opt-out"),
    rule(Extension, Script, "Cacaoweb = {", "CSP-useful, Relay"),
    rule(Extension, Style, "ghostery-", "CSP-useful"),
    rule(Extension, Style, "UNIQUE_ID-ghostery", "CSP-useful"),
    rule(Extension, Style, "Evernote Corp", "CSP-useful"),
    rule(Extension, Style, "cip-genpw-icon", "CSP-useful: chromeIPass"),
    rule(Extension, Style, "autocardanywhere-popup", "CSP-useful"),
    rule(Extension, Style, "dummyRuleForDigg{}", "CSP-useful"),
    rule(Extension, Style, "dummybodyid .diigolet", "CSP-useful"),
    rule(Extension, Style, "password-toggler-button-parent", "CSP-useful"),
    rule(Extension, Style, "minvid__overlay__container", "CSP-useful: Min Vid"),
    rule(Extension, Style, "forecastfox", "CSP-useful"),
    rule(Extension, Style, "root .mod > ._jH + .rscontainer", "CSP-useful: EasyList in uBlock"),
    rule(Extension, Style, "werbung, .text_werbung", "CSP-useful: AdGuard"),
    rule(Extension, InStyle, "chrome-extension://", "capture: only an add-on's style names one"),
    rule(Extension, InStyle, "moz-extension://", "CSP-useful"),
    rule(Extension, InStyle, "url(resource://jid1", "CSP-useful"),
    // -- injected: antivirus.
    rule(Injected, Domain, "kaspersky-labs.com", "collector, Relay, pages"),
    rule(Injected, Script, "klTabId_kis", "CSP-useful: Kaspersky"),
    rule(Injected, Scheme, "symres", "Nelmio, Sentry: Norton"),
    rule(Injected, OwnPathEnd, "/netdefender/hui/ndhui.js", "CSP-useful: Bitdefender"),
    rule(Injected, Host, "local.adguard.org", "pages, vendor"),
    rule(Injected, Host, "local.adguard.com", "pages, vendor"),
    rule(Injected, Host, "injections.adguard.org", "pages, vendor"),
    rule(Injected, Host, "injections.adguard.com", "Sentry"),
    rule(Injected, Host, "toolbar.avg.com", "Nelmio"),
    rule(Injected, Host, "nikkomsgchannel", "report-uri#45: Trusteer Rapport"),
    rule(Injected, BlockedUrlScheme, "none", "report-uri#7: Trusteer Rapport"),
    rule(Injected, Script, "AG_onLoad", "Nelmio, CSP-useful: AdGuard"),
    // -- injected: internet providers, toolbars, adware on the visitor's machine.
    rule(Injected, Path, "1.1.1.1/bmi/", "CSP-useful: Bytemobile"),
    rule(Injected, Script, "bmi_SafeAddOnload", "Relay: Bytemobile"),
    rule(Injected, Domain, "superfish.com", "Sentry, Nelmio"),
    rule(Injected, Host, "webappstoolbarba.texthelp.com", "Relay"),
    rule(Injected, Scheme, "tmtbff", "Nelmio, Sentry: Ticketmaster's toolbar"),
    rule(Injected, Script, "conduitPage", "Relay: Conduit's toolbar"),
    rule(Injected, Domain, "metrext.com", "Sentry, Nelmio"),
    rule(Injected, Domain, "tlscdn.com", "Sentry, Nelmio"),
    rule(Injected, Host, "savingsslider-a.akamaihd.net", "Sentry, CSP-useful"),
    rule(Injected, Host, "resultshub-a.akamaihd.net", "Sentry"),
    rule(Injected, Host, "middlerush-a.akamaihd.net", "Sentry"),
    rule(Injected, Host, "cdncache-a.akamaihd.net", "Sentry"),
    rule(Injected, Domain, "davebestdeals.com", "CSP-useful, Nelmio"),
    rule(Injected, Domain, "bestpriceninja.com", "Nelmio"),
    rule(Injected, Domain, "jollywallet.com", "Nelmio"),
    rule(Injected, Host, "istatic.eshopcomp.com", "CSP-useful, Nelmio"),
    rule(Injected, Host, "secure.myshopmatemac.com", "CSP-useful, Nelmio"),
    rule(Injected, Host, "www.ciuvo.com", "CSP-useful"),
    rule(Injected, Host, "jsl.infostatsvc.com", "CSP-useful, Nelmio"),
    rule(Injected, Host, "tags.clickintext.net", "CSP-useful, Nelmio"),
    rule(Injected, Script, "BlockAdBlo", "Nelmio, CSP-useful"),
    rule(Injected, Script, "FuckAdBlo", "Nelmio, CSP-useful"),
    rule(Injected, Script, "abNoOp", "Nelmio"),
    rule(Injected, Script, "oldSetTimeout=window.setTimeout", "Nelmio, CSP-useful"),
    rule(Injected, Script, "_PostRPC()", "Nelmio, CSP-useful"),
    rule(Injected, Script, "safeWindow:{", "Nelmio, CSP-useful"),
    rule(Injected, Script, "rw_sendSocketMessage(", "CSP-useful"),
    rule(Injected, Script, "ISAnalysterLoader", "CSP-useful"),
    rule(Injected, Script, "ISCommonAnalyster", "CSP-useful"),
    // -- injected: in-app browsers and their bridges to the app.
    rule(Injected, Scheme, "iabjs", "pages: Facebook and Instagram"),
    rule(Injected, Scheme, "wvjbscheme", "collector: WebViewJavascriptBridge"),
    rule(Injected, Scheme, "gsa", "Nelmio, CSP-useful: Google app"),
    rule(Injected, Scheme, "crwebinvoke", "Chromium, CSP-useful: Chrome on iOS"),
    rule(Injected, Scheme, "crwebinvokeimmediate", "Chromium: Chrome on iOS"),
    rule(Injected, Scheme, "crwebimmediate", "CSP-useful: Chrome on iOS"),
    rule(Injected, Scheme, "crwebnull", "CSP-useful: Chrome on iOS"),
    rule(Injected, Scheme, "chromeinvoke", "Nelmio, collector: Chrome on iOS"),
    rule(Injected, Scheme, "chromeinvokeimmediate", "Nelmio, Sentry: Chrome on iOS"),
    rule(Injected, Scheme, "chromenull", "Sentry, collector: Chrome on iOS"),
    rule(Injected, Script, "__gCrWeb", "Relay: Chrome on iOS"),
    rule(Injected, Script, "EBCallBackMessageReceived", "Relay"),
    rule(Injected, Scheme, "mxjscall", "Nelmio, collector: Maxthon"),
    rule(Injected, Scheme, "mx", "Nelmio, collector: Maxthon"),
    rule(Injected, Scheme, "mbinit", "Nelmio, Sentry"),
    rule(Injected, Scheme, "webviewprogress", "Nelmio"),
    rule(Injected, Scheme, "webviewprogressproxy", "Nelmio, Sentry"),
    rule(Injected, Scheme, "sinaweibo", "Nelmio: Weibo"),
    rule(Injected, Scheme, "nativebaiduhd", "collector: Baidu"),
    rule(Injected, Scheme, "bdvideo", "collector: Baidu"),
    rule(Injected, Scheme, "sraf", "Nelmio"),
    rule(Injected, Scheme, "android-webview", "collector, report-uri#28"),
    rule(Injected, Host, "com.lge.browser", "Nelmio: LG"),
    rule(Injected, Host, "adblockers.opera-mini.net", "CSP-useful, Nelmio: Opera Mini"),
    // -- intermediary: filters that respond instead of the requested server.
    rule(Intermediary, Domain, "zscaler.net", "Nelmio, CSP-useful"),
    rule(Intermediary, Domain, "zscalerone.net", "vendor"),
    rule(Intermediary, Domain, "zscalertwo.net", "Nelmio, Sentry"),
    rule(Intermediary, Domain, "zscalerthree.net", "vendor"),
    rule(Intermediary, Domain, "zscloud.net", "vendor"),
    rule(Intermediary, Host, "block.opendns.com", "Nelmio"),
    rule(Intermediary, Domain, "scansafe.net", "Nelmio, report-uri#8"),
    rule(Intermediary, Domain, "iss.netstar-inc.com", "worldmonitor#4942"),
    rule(Intermediary, Host, "filter.techloq.com", "worldmonitor#4942"),
    rule(Intermediary, Host, "safe.menlosecurity.com", "vendor, WebKit's quirks"),
    // -- intermediary: servers of changed pages: cloud proxies, translators, archives.
    rule(Intermediary, Document, "safe.menlosecurity.com", "vendor, WebKit's quirks"),
    rule(Intermediary, Document, "mcas.ms", "MS Learn"),
    rule(Intermediary, Document, "mcas-gov.us", "MS Learn"),
    rule(Intermediary, Document, "mcas-gov.ms", "MS Learn"),
    rule(Intermediary, Document, "translate.goog", "vendor, pages"),
    rule(Intermediary, Document, "translate.googleusercontent.com", "pages"),
    rule(Intermediary, Document, "webcache.googleusercontent.com", "pages"),
    rule(Intermediary, Document, "translated.turbopages.org", "pages: Yandex"),
    rule(Intermediary, Document, "www.translatetheweb.com", "vendor: Microsoft"),
    rule(Intermediary, Document, "fanyi.baidu.com", "Nelmio"),
    rule(Intermediary, Document, "fanyi.youdao.com", "Nelmio"),
    rule(Intermediary, Document, "papago.naver.net", "vendor"),
    rule(Intermediary, Document, "cc.bingj.com", "vendor: Bing's cache"),
    rule(Intermediary, Document, "web.archive.org", "vendor"),
    rule(Intermediary, Document, "archive.ph", "vendor"),
    rule(Intermediary, Document, "archive.today", "vendor"),
    // Resources that translators load into a page. Google's shared hosts need the path of the translator's
    // images, because they serve other content too.
    rule(Intermediary, Domain, "translate.goog", "vendor, pages"),
    rule(Intermediary, Host, "translate.google.com", "Nelmio"),
    rule(Intermediary, Host, "translate.googleapis.com", "Nelmio"),
    rule(Intermediary, Host, "translate-pa.googleapis.com", "Chromium"),
    rule(Intermediary, Host, "translate.googleusercontent.com", "pages"),
    rule(Intermediary, Path, "www.gstatic.com/images/branding/product/1x/translate_24dp.png", "CSP-useful"),
    rule(Intermediary, Path, "www.gstatic.com/images/branding/product/2x/translate_24dp.png", "CSP-useful"),
    rule(Intermediary, Path, "fonts.gstatic.com/s/i/productlogos/translate/", "pages"),
    rule(Intermediary, Domain, "microsofttranslator.com", "Nelmio"),
    rule(Intermediary, Host, "fanyi.baidu.com", "Nelmio"),
    rule(Intermediary, Host, "fanyi.youdao.com", "Nelmio"),
    rule(Intermediary, Host, "papago.naver.com", "vendor"),
    // -- browser: parts of the engine. `about` counts only as blocked URL, because as source or document
    // it is a `srcdoc` frame of the site or of an attacker.
    rule(Browser, Blocked, "about", "Sentry, bmo 1263286 (base-uri)"),
    rule(Browser, Blocked, "about:blank", "collector, bmo 1263286 (base-uri)"),
    rule(Browser, Scheme, "resource", "capture, collector, Sentry: Firefox"),
    rule(Browser, Scheme, "chrome", "Sentry"),
    rule(Browser, Scheme, "chrome-error", "Chromium"),
    rule(Browser, Scheme, "chrome-untrusted", "Chromium"),
    rule(Browser, Scheme, "edge", "Chromium"),
    rule(Browser, Scheme, "opera", "collector, CSP-useful"),
    rule(Browser, Scheme, "res", "collector, CSP-useful: Internet Explorer"),
    rule(Browser, Scheme, "ms-appx", "collector, report-uri#8: old Edge"),
    rule(Browser, Scheme, "ms-appx-web", "Nelmio, report-uri#8: old Edge"),
    rule(Browser, Scheme, "safari-resource", "collector, CSP-useful"),
    rule(Browser, Scheme, "webkit-fake-url", "WebKit: pictures pasted in Safari"),
    rule(Browser, SourceScheme, "view-source", "bmo 1873553"),
    rule(Browser, GeckoSource, "<anonymous code>", "capture: main-world scripts of add-ons"),
    // -- local: names that public DNS resolves to 127.0.0.1. `signals::is_local` has the others.
    rule(Local, Domain, "localtest.me", "vendor"),
    rule(Local, Document, "localtest.me", "vendor"),
    rule(Local, Domain, "lvh.me", "vendor"),
    rule(Local, Document, "lvh.me", "vendor"),
    // -- bot: product names. Names that end in bot, crawler or spider need no entry.
    rule(Bot, Agent, "Mediapartners-Google", "Relay"),
    rule(Bot, Agent, "AdsBot-Google", "Relay"),
    rule(Bot, Agent, "AdsBot-Google-Mobile", "vendor"),
    rule(Bot, Agent, "Googlebot-Image", "vendor"),
    rule(Bot, Agent, "Googlebot-News", "vendor"),
    rule(Bot, Agent, "Googlebot-Video", "vendor"),
    rule(Bot, Agent, "Storebot-Google", "vendor"),
    rule(Bot, Agent, "FeedFetcher-Google", "Relay"),
    rule(Bot, Agent, "GoogleOther", "vendor"),
    rule(Bot, Agent, "Google-InspectionTool", "vendor"),
    rule(Bot, Agent, "Google-Read-Aloud", "vendor"),
    rule(Bot, Agent, "Google-Site-Verification", "vendor"),
    rule(Bot, Agent, "Chrome-Lighthouse", "vendor"),
    rule(Bot, Agent, "BingPreview", "Relay"),
    rule(Bot, Agent, "Slurp", "Relay: Yahoo"),
    rule(Bot, Agent, "DuckDuckBot-Https", "vendor"),
    rule(Bot, Agent, "YandexMobileBot", "vendor"),
    rule(Bot, Agent, "Baiduspider-render", "vendor"),
    rule(Bot, Agent, "facebookexternalhit", "Relay"),
    rule(Bot, Agent, "facebookcatalog", "vendor"),
    rule(Bot, Agent, "meta-externalagent", "vendor"),
    rule(Bot, Agent, "ia_archiver", "Relay"),
    rule(Bot, Agent, "archive.org_bot", "vendor"),
    rule(Bot, Agent, "Slackbot-LinkExpanding", "Relay"),
    rule(Bot, Agent, "Slack-ImgProxy", "Relay"),
    rule(Bot, Agent, "ChatGPT-User", "vendor"),
    rule(Bot, Agent, "Pingdom", "Relay"),
    rule(Bot, Agent, "PingdomTMS", "vendor"),
    rule(Bot, Agent, "PingdomPageSpeed", "vendor"),
    rule(Bot, Agent, "PTST", "vendor: WebPageTest"),
    rule(Bot, Agent, "GTmetrix", "vendor"),
    rule(Bot, Agent, "DatadogSynthetics", "vendor"),
    rule(Bot, Agent, "Cypress", "vendor"),
    rule(Bot, Agent, "PhantomJS", "vendor"),
    rule(Bot, Agent, "SlimerJS", "vendor"),
    rule(Bot, Agent, "jsdom", "vendor"),
    rule(Bot, HeadlessAgent, "HeadlessChrome", "capture"),
    rule(Bot, HeadlessAgent, "HeadlessEdg", "vendor"),
];

// Left out: hosts that sites use themselves, although lists name them (CDNs, font hosts, analytics, chat
// widgets, s3.amazonaws.com, akamaihd.net and cloudfront.net as a whole). Domains of adware that are no
// longer registered, because their next owner would be hidden. Samples that any script may start with:
// `Object.defineProperty`, `var api = {}`, `jQuery JavaScript Library`, minified prologues,
// `__REACT_DEVTOOLS_GLOBAL_HOOK__` (sites disable it inline). Deep links into apps (`weixin`, `intent`,
// `market`), which sites use. `self` blocked in Firefox before 43 (bmo 1026520), which means `inline`
// there. Paths on any host, except the document's own.
