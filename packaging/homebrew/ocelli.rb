# For a tap (ocelli/homebrew-tap). RELEASING.md says when its checksum is filled in.
class Ocelli < Formula
  desc "Trains image classifiers by transfer learning"
  homepage "https://github.com/ocelli/ocelli"
  url "https://github.com/ocelli/ocelli/archive/refs/tags/v0.1.0.tar.gz"
  sha256 "0000000000000000000000000000000000000000000000000000000000000000"
  license any_of: ["MIT", "Apache-2.0"]
  head "https://github.com/ocelli/ocelli.git", branch: "main"

  depends_on "rust" => :build

  def install
    system "cargo", "install", *std_cargo_args(path: "crates/ocelli-cli")
    generate_completions_from_executable(bin/"ocelli", "completions")
    system bin/"ocelli", "man", man1
  end

  test do
    system bin/"ocelli", "samples"
    system bin/"ocelli", "train", "samples/emoji", "--recipe", "quick", "--size", "32", "--head-epochs", "1"
    assert_path_exists testpath/"runs/emoji-1/model.safetensors"
  end
end
