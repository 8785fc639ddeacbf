;; SPDX-License-Identifier: Apache-2.0
;; guix build -f packaging/guix.scm, in a checkout; guix shell -D -f packaging/guix.scm for the tools to build by hand.
(use-modules (guix packages) (guix gexp) (guix git-download) (guix build-system gnu) ((guix licenses) #:prefix license:)
             (gnu packages autotools) (gnu packages check) (gnu packages compression) (gnu packages gnunet)
             (gnu packages image) (gnu packages maths) (gnu packages opencl) (gnu packages pkg-config) (gnu packages textutils)
             (gnu packages web))

(define checkout (dirname (dirname (current-filename))))

(package
  (name "finediffusion")
  (version "0.1.0")
  (source (local-file checkout "finediffusion-checkout" #:recursive? #t #:select? (git-predicate checkout)))
  (build-system gnu-build-system)
  (arguments (list #:configure-flags #~(list "--without-mpi")))
  (native-inputs (list autoconf automake libtool pkg-config check))
  (inputs (list zlib libpng jansson libjpeg-turbo libwebp utf8proc lapack libmicrohttpd opencl-headers opencl-icd-loader))
  (synopsis "Fine-tune and sample class-conditional diffusion transformers")
  (description "Finediffusion adapts a class-conditional diffusion transformer (DiT) to thousands of fine classes by
training its biases, its LayerNorm weights and a tiered class table, draws pictures of the classes, guided by their
superclasses, and measures how good they are, on GPUs through OpenCL and on plain processors.")
  (home-page "https://arxiv.org/abs/2402.18331")
  (license license:asl2.0))
