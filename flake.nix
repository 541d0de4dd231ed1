{
  description = "Trains image classifiers by transfer learning";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";

  outputs =
    { self, nixpkgs }:
    let
      systems = [
        "x86_64-linux"
        "aarch64-linux"
        "aarch64-darwin"
      ];
      each = f: nixpkgs.lib.genAttrs systems (system: f nixpkgs.legacyPackages.${system});
    in
    {
      packages = each (pkgs: {
        default = pkgs.rustPlatform.buildRustPackage {
          pname = "ocelli";
          version = "0.1.0";
          src = self;
          cargoLock.lockFile = ./Cargo.lock;
          cargoBuildFlags = [
            "-p"
            "ocelli-cli"
          ];
          # The tests train networks for minutes; the gate runs them.
          doCheck = false;
          nativeBuildInputs = [ pkgs.installShellFiles ];
          OCELLI_COMMIT = self.rev or "";
          postInstall = pkgs.lib.optionalString (pkgs.stdenv.buildPlatform.canExecute pkgs.stdenv.hostPlatform) ''
            installShellCompletion --cmd ocelli \
              --bash <($out/bin/ocelli completions bash) \
              --zsh <($out/bin/ocelli completions zsh) \
              --fish <($out/bin/ocelli completions fish)
            $out/bin/ocelli man $TMPDIR/man
            installManPage $TMPDIR/man/*.1
          '';
          meta = {
            description = "Trains image classifiers by transfer learning";
            homepage = "https://github.com/ocelli/ocelli";
            license = with pkgs.lib.licenses; [
              mit
              asl20
            ];
            mainProgram = "ocelli";
          };
        };
      });

      devShells = each (pkgs: {
        default = pkgs.mkShell {
          packages = with pkgs; [
            cargo
            rustc
            clippy
            rustfmt
          ];
        };
      });
    };
}
