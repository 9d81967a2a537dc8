/// The release, in one place: `martletd --version`, `martletctl version` and captured files all say this.
public enum Martlet {
    public static let version = "0.1.0"
}
