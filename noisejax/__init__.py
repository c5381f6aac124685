from noisejax._compose import at as at, chain as chain, changed as changed, choose as choose, clip as clip, entries as entries, hits as hits, keyless as keyless, per_example as per_example, sometimes as sometimes
from noisejax._levels import Adaptive as Adaptive, AdaptiveState as AdaptiveState, adaptive as adaptive, at_step as at_step
from noisejax._noise import Noise as Noise, bind as bind
from noisejax._continuous import gaussian as gaussian
from noisejax._masking import dropout as dropout, mask as mask
