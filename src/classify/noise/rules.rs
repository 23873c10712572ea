//! What is known to be noise, as data. An entry says which field has to be what, the class, and where
//! the fact is published. The facts were read there; no list was copied, and what is too general for
//! its own good is left out on purpose (see the end).
//!
//! Sources: `Nelmio` nelmio/NelmioSecurityBundle, Violation/Filter · `Sentry` getsentry/sentry,
//! interfaces/security.py · `Relay` getsentry/relay, relay-filter · `CSP-useful`
//! nico3333fr/CSP-useful, csp-wtf and csp-parser-enhanced · `collector` jacobbednarz/go-csp-collector,
//! sample.filterlist.txt · `report-uri#n` issues of report-uri/report-uri-bugs · `worldmonitor#n`
//! issues of koala73/worldmonitor · `Dropbox` dropbox.tech/security/on-csp-reporting-and-filtering ·
//! `crbug`, `bmo`, `WebKit`, `Chromium` the engines' trackers and sources · `MS Learn`
//! defender-cloud-apps/troubleshooting-proxy-url · `vendor` the product's own documentation ·
//! `pages` saved pages in public repositories, where the product left its tag · `capture` tests/corpus.

use crate::model::Noise;
use crate::model::Noise::{Bot, Browser, Extension, Injected, Intermediary, Local};

/// One fact.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) class: Noise,
    pub(super) field: Field,
    pub(super) pattern: &'static str,
    /// Where it is known from. For whoever reviews the table; a test sees that it is there.
    #[cfg_attr(not(test), expect(dead_code, reason = "read by people"))]
    pub(super) source: &'static str,
}

/// What the pattern is compared with, and how. Everything is exact except where it says otherwise;
/// nothing matches in the middle of a host, a path or a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    /// The scheme of the blocked URL or of the source file, bare or with a URL behind it.
    Scheme,
    /// The scheme of the blocked URL, with `://` behind it: the bare word means something else.
    BlockedUrlScheme,
    /// The scheme of the source file.
    SourceScheme,
    /// The blocked URL as a whole.
    Blocked,
    /// The source file as a whole, in Firefox or where the browser is not known.
    GeckoSource,
    /// The host of the blocked URL or of the source file, other than the document's own.
    Host,
    /// The same, or any host below it.
    Domain,
    /// `host/path`: that host, and a path that starts so.
    Path,
    /// The end of the source file's path, where its host is the document's own.
    OwnPathEnd,
    /// The document's host or any host above it: the page was served by somebody else.
    Document,
    /// How an inline or evaluated script starts, after nothing but syntax.
    Script,
    /// How an inline style starts, after nothing but syntax.
    Style,
    /// Anywhere in an inline style.
    InStyle,
    /// A product name of the user agent.
    Agent,
    /// The same, of a browser that nobody looks at. It is a bot unless the site is under `.test`.
    HeadlessAgent,
}

const fn rule(class: Noise, field: Field, pattern: &'static str, source: &'static str) -> Rule {
    Rule { class, field, pattern, source }
}

use Field::{
    Agent, Blocked, BlockedUrlScheme, Document, Domain, GeckoSource, HeadlessAgent, Host, InStyle,
    OwnPathEnd, Path, Scheme, Script, SourceScheme, Style,
};

/// Every fact.
pub(super) static RULES: &[Rule] = &[
    // -- extension: what the visitor added to the browser. Schemes that end in `-extension` also count
    // when they are not listed (`kind::vocabulary`): no page can load from them.
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
    // -- intermediary: filters that answer in the place of what was asked for.
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
    // -- intermediary: a page that somebody else serves, changed: cloud proxies, translators, archives.
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
    // What translators load into a page. Their hosts serve nothing else; Google's shared ones need the
    // path of the translator's own pictures.
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
    // -- browser: parts of the engine. `about` counts when it was blocked: as a source or a document it
    // is a frame that the site, or an attacker, made with `srcdoc`.
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
    // -- local: names that public DNS answers with 127.0.0.1. Addresses, `localhost` and `.local` are
    // code (`noise::is_local`). Reserved names such as `.test` and `.example` count as sites.
    rule(Local, Domain, "localtest.me", "vendor"),
    rule(Local, Document, "localtest.me", "vendor"),
    rule(Local, Domain, "lvh.me", "vendor"),
    rule(Local, Document, "lvh.me", "vendor"),
    // -- bot: product names. What ends in bot, crawler or spider needs no entry.
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

// Left out on purpose. Hosts that sites use themselves, though lists name them: CDNs and font hosts,
// analytics, chat widgets, s3.amazonaws.com, akamaihd.net and cloudfront.net as a whole. Names of
// adware that nobody keeps: whoever registers one next would be hidden. Samples that anybody's script
// may start with: `Object.defineProperty`, `var api = {}`, `jQuery JavaScript Library`, minified
// prologues, `__REACT_DEVTOOLS_GLOBAL_HOOK__` (sites switch it off inline). Deep links into apps
// (`weixin`, `intent`, `market`), which sites use. `self` blocked in Firefox before 43 (bmo 1026520):
// it is how those versions say `inline`. Paths on any host, except the document's own.
