//! `make app` lays out a bundle that macOS accepts.

use std::{fs, path::Path, process::Command};

use icns::{IconFamily, IconType};
use plist::{Dictionary, Value};

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Runs `make app` into a folder of its own.
fn made() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut make = Command::new("make");
    // The tests may themselves run below make, whose flags are none of this one's.
    make.env_remove("MAKEFLAGS").env_remove("MAKELEVEL").env_remove("MFLAGS");
    make.arg("-C").arg(repository()).arg("app").arg(format!("APP_DIR={}", folder.path().display()));
    if cfg!(target_os = "macos") {
        make.arg(concat!("APP_BINARY=", env!("CARGO_BIN_EXE_roofline")));
    }
    let output = make.output().expect("make is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    folder
}

fn info() -> Dictionary {
    Value::from_file(repository().join("Info.plist")).unwrap().into_dictionary().unwrap()
}

fn text<'a>(info: &'a Dictionary, key: &str) -> &'a str {
    info.get(key).and_then(Value::as_string).unwrap_or_else(|| panic!("Info.plist has no text {key}"))
}

#[test]
fn the_bundle_has_its_places_filled() {
    let folder = made();
    let contents = folder.path().join("Roofline.app/Contents");
    let same = |made: &str, source: &str| {
        assert_eq!(fs::read(contents.join(made)).unwrap(), fs::read(repository().join(source)).unwrap(), "{made}");
    };
    same("Info.plist", "Info.plist");
    same("Resources/icon.icns", "assets/icon.icns");
    assert_eq!(fs::read(contents.join("PkgInfo")).unwrap(), b"APPL????");
    assert!(contents.join("MacOS").is_dir());
    assert_eq!(contents.join("MacOS/roofline").exists(), cfg!(target_os = "macos"));
}

#[test]
fn making_it_again_leaves_nothing_of_the_old_one() {
    let folder = made();
    let stale = folder.path().join("Roofline.app/Contents/Resources/stale");
    fs::write(&stale, "").unwrap();
    let again = Command::new("sh")
        .arg(repository().join("scripts/app.sh"))
        .env("APP_DIR", folder.path())
        .env("APP_BINARY", env!("CARGO_BIN_EXE_roofline"))
        .output()
        .unwrap();
    assert!(again.status.success());
    assert!(!stale.exists());
    assert!(folder.path().join("Roofline.app/Contents/MacOS/roofline").is_file());
}

#[test]
fn the_facts_of_the_bundle_are_those_of_the_program() {
    let info = info();
    assert_eq!(text(&info, "CFBundleShortVersionString"), env!("CARGO_PKG_VERSION"));
    assert_eq!(text(&info, "CFBundleVersion"), env!("CARGO_PKG_VERSION"));
    assert_eq!(text(&info, "CFBundleExecutable"), env!("CARGO_PKG_NAME"));
    assert_eq!(text(&info, "CFBundlePackageType"), "APPL");
    assert_eq!(text(&info, "CFBundleName"), "Roofline");
    assert_eq!(text(&info, "CFBundleDisplayName"), "Roofline");
    assert_eq!(text(&info, "NSPrincipalClass"), "NSApplication");
    assert_eq!(text(&info, "LSApplicationCategoryType"), "public.app-category.developer-tools");
    assert!(text(&info, "CFBundleIdentifier").split('.').count() >= 3);
    assert!(text(&info, "LSMinimumSystemVersion").parse::<f64>().unwrap() >= 14.0);
    assert!(text(&info, "NSHumanReadableCopyright").contains("The Roofline authors"));
    for key in ["NSHighResolutionCapable", "NSSupportsAutomaticGraphicsSwitching"] {
        assert_eq!(info.get(key).and_then(Value::as_boolean), Some(true), "{key}");
    }
    let icon = format!("assets/{}.icns", text(&info, "CFBundleIconFile"));
    assert!(repository().join(icon).is_file());
}

#[test]
fn the_document_type_is_declared_where_it_is_used() {
    let info = info();
    let array = |key: &str| info.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
    let declared = array("UTExportedTypeDeclarations");
    let declared: Vec<&str> =
        declared.iter().filter_map(|kind| kind.as_dictionary()?.get("UTTypeIdentifier")?.as_string()).collect();
    for document in array("CFBundleDocumentTypes") {
        let document = document.into_dictionary().unwrap();
        assert_eq!(text(&document, "CFBundleTypeRole"), "Viewer");
        for kind in document.get("LSItemContentTypes").and_then(Value::as_array).unwrap() {
            let kind = kind.as_string().unwrap();
            assert!(kind.starts_with("public.") || declared.contains(&kind), "{kind} is not declared");
        }
    }
}

#[test]
fn the_icon_has_every_size_and_each_is_drawn() {
    let file = fs::File::open(repository().join("assets/icon.icns")).unwrap();
    let family = IconFamily::read(file).unwrap();
    let sizes = [
        (IconType::RGBA32_16x16, 16),
        (IconType::RGBA32_16x16_2x, 32),
        (IconType::RGBA32_32x32, 32),
        (IconType::RGBA32_32x32_2x, 64),
        (IconType::RGBA32_128x128, 128),
        (IconType::RGBA32_128x128_2x, 256),
        (IconType::RGBA32_256x256, 256),
        (IconType::RGBA32_256x256_2x, 512),
        (IconType::RGBA32_512x512, 512),
        (IconType::RGBA32_512x512_2x, 1024),
    ];
    for (kind, pixels) in sizes {
        let image = family.get_icon_with_type(kind).unwrap();
        assert_eq!((image.width(), image.height()), (pixels, pixels), "{kind:?}");
        let colours: std::collections::BTreeSet<&[u8]> = image.data().chunks(4).collect();
        assert!(colours.len() > 16, "{kind:?} is all but blank");
    }
}
